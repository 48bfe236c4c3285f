"""How far a DICOM file is followed: parsing costs time and memory before there is an image.

64 MiB of zeros are eight million elements to a parser, and 65 kB in a ZIP file.
"""

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from seg.errors import ImageTooLargeError
from seg.images.storage.files import BinaryFile, unpacked

DEFLATED, PLAIN = b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.1\0\0\0"
"""Names of the transfer syntax whose header is compressed too, and of what lies within."""

MAX_INFLATED = 2**30
"""Bytes of a deflated file."""
MAX_READS = 1_000_000
"""Two or three for each element of a file, those within sequences included: some seconds."""
TIMES_READ, SPARE_BYTES = 4, 16 << 20
"""Bytes that are read, as multiples of the file and beside them: what has no length is looked
through to its end, and so is the item within it, which has none either."""
MAX_HEADER = 64 << 20
"""Bytes of all elements before the pixels."""
MOST_PIXELS = 2**34
PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_UNDEFINED = 0xFFFFFFFF


class Counted:
    """A file for a parser, of which so many pieces and bytes can be read and no more."""

    def __init__(self, file: BinaryFile) -> None:
        self._read = file.read
        self.seek, self.tell = file.seek, file.tell
        self._left = MAX_READS
        here = file.tell()
        self._bytes_left = TIMES_READ * file.seek(0, os.SEEK_END) + SPARE_BYTES
        file.seek(here)

    def read(self, size: int = -1, /) -> bytes:
        """As that of the file.

        Raises:
            ImageTooLargeError: it was often enough.
        """
        self._left -= 1
        if self._left < 0:
            raise ImageTooLargeError(
                f"at most {MAX_READS:,} pieces of a DICOM file are read, this one has more; it "
                "holds no image, or very many elements: send the image without them"
            )
        piece = self._read(size)
        self._bytes_left -= len(piece)
        if self._bytes_left < 0:
            raise ImageTooLargeError(
                "elements of the DICOM file that announce no length never end, so that it would be "
                "read again and again; it is damaged: send the image without them"
            )
        return piece


class Bounds:
    """Counts what a parser comes by, and says where it stops: before the pixels, or at the end."""

    def __init__(self, file: BinaryFile, *, pixels: bool, most_pixel_bytes: int) -> None:
        self._file = file
        self._pixels = pixels
        self._most = most_pixel_bytes
        self._bytes = 0

    def __call__(self, tag: int, vr: str | None, length: int) -> bool:
        """Whether the parser stops before this element, as pydicom asks.

        Raises:
            ImageTooLargeError: there is more than an image can need.
        """
        if tag in PIXELS:
            if self._pixels and self._held(length) > self._most:
                raise ImageTooLargeError(
                    "the DICOM file holds far more bytes of pixels than its rows, columns and "
                    "frames need; repair the file"
                )
            return not self._pixels
        self._bytes += 0 if length == _UNDEFINED else length
        if self._bytes > MAX_HEADER:
            raise ImageTooLargeError(
                f"at most {MAX_HEADER >> 20} MiB before the pixels are read of a DICOM file, this "
                "one has more; send the image without them"
            )
        return False

    def _held(self, length: int) -> int:
        """Bytes that there are of an element that announces ``length``."""
        here = self._file.tell()
        left = self._file.seek(0, os.SEEK_END) - here
        self._file.seek(here)
        return left if length == _UNDEFINED else min(length, left)


@contextmanager
def inflated(file: BinaryFile) -> Iterator[BinaryFile]:
    """The file, its deflated part unpacked no further than ``MAX_INFLATED``."""
    head = file.read(1024)
    file.seek(0)
    if DEFLATED not in head:
        yield file
        return
    from pydicom.filereader import read_dataset

    file.seek(132)
    read_dataset(file, False, True, stop_when=lambda tag, *_: tag.group != 2)
    meta_bytes = file.tell()
    file.seek(0)
    meta = file.read(meta_bytes).replace(DEFLATED, PLAIN)
    with unpacked(_Inflating(file, meta).read, MAX_INFLATED) as whole:
        yield whole


class _Inflating:
    """What comes first, and then what a file holds from here, inflated."""

    def __init__(self, file: BinaryFile, first: bytes) -> None:
        self._chunks = iter(partial(file.read, 1 << 16), b"")
        self._first = first
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)

    def read(self, size: int) -> bytes:
        if self._first:
            first, self._first = self._first, b""
            return first
        while not self._inflater.eof:
            pending = self._inflater.unconsumed_tail or next(self._chunks, b"")
            if not pending:
                break
            if content := self._inflater.decompress(pending, size):
                return content
        return b""
