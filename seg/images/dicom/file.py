"""DICOM files as pydicom Datasets: parsed without trust in them, and without a word in the logs."""

import io
import logging
import struct
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from seg.errors import ImageError
from seg.images.dicom.bounds import MOST_PIXELS, Bounds, Counted, inflated
from seg.images.dicom.codecs import DECODER_DEPENDENCIES
from seg.images.storage.files import PARSING_ERRORS, BinaryFile

Dataset = Any
"""A ``pydicom.Dataset``; its module is imported where a DICOM file is really read."""


OUR_DECODER = "seg"
"""The name under which pydicom knows ``seg.images.dicom.codecs``."""


FIRST_GROUPS = (0x0002, 0x0004, 0x0008, 0x0010, 0x0012, 0x0018, 0x0020, 0x0028)
"""Groups of tags that a file without preamble may begin with."""

LAST_GROUP = 0x7FE0
"""Of the pixels, behind which nothing comes that a header would need."""

LONG_VALUES = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT")
SHORT_VALUES = (
    *(b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO"),
    *(b"LT", b"PN", b"SH", b"SL", b"SS", b"ST", b"SV", b"TM", b"UI", b"UL", b"US", b"UV"),
)
"""Value representations whose length takes 4 bytes behind 2 empty ones, or 2."""

UNDEFINED_LENGTH = 0xFFFFFFFF

LONGEST_FIRST_VALUE = 2**10
"""Bytes of a value with which a header begins: names, dates and UIDs, before any sequence."""


PIXELS, APPROVAL, REPORT = 0x7FE00010, 0x300E0002, 0x0040A730
"""Tags with which a segmentation or a picture ends, a structure set, and a report."""


@cache
def pydicom() -> Any:
    """The library with our decoders, and silenced.

    Its remarks quote values, and a value may be a patient's name.
    """
    import pydicom
    import pydicom.pixels

    for name in ("pydicom", "highdicom"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")
    for uid in DECODER_DEPENDENCIES:
        decoder = pydicom.pixels.get_decoder(uid)
        if OUR_DECODER not in decoder.available_plugins:
            decoder.add_plugin(OUR_DECODER, ("seg.images.dicom.codecs", "decode_frame"))
    return pydicom


def is_dicom(head: bytes) -> bool:
    """The first bytes of a file are DICOM's, with the preamble or, as some write it, without."""
    return head[128:132] == b"DICM" or any(_is_header(head, order) for order in "<>")


def _is_header(head: bytes, order: str) -> bool:
    """Elements stand one behind the other from the first byte on, their tags in order.

    Which tag is the first depends on the program that left the preamble out.
    """
    at, last, found = 0, -1, 0
    while at + 8 <= len(head):
        group, element = struct.unpack_from(f"{order}HH", head, at)
        tag = group << 16 | element
        if tag <= last or (found == 0 and group not in FIRST_GROUPS) or group > LAST_GROUP:
            return False
        representation = head[at + 4 : at + 6]
        if representation in SHORT_VALUES:
            length, at = struct.unpack_from(f"{order}H", head, at + 6)[0], at + 8
        elif representation in LONG_VALUES and head[at + 6 : at + 8] == b"\0\0":
            if at + 12 > len(head):
                break
            length, at = struct.unpack_from(f"{order}I", head, at + 8)[0], at + 12
        else:
            length, at = struct.unpack_from(f"{order}I", head, at + 4)[0], at + 8
        last, found = tag, found + 1
        if length == UNDEFINED_LENGTH:
            break
        if length > LONGEST_FIRST_VALUE:
            return found > 2
        if length % 2:
            return False
        at += length
    return found > 0 and (found > 1 or at >= len(head) or last >> 16 == 8)


@contextmanager
def translated() -> Iterator[None]:
    """Whatever a damaged file makes pydicom raise becomes an ``ImageError``.

    Values are decoded when they are looked at, so that this goes around all that looks at them.
    """
    try:
        yield
    except ImageError:
        raise
    except (*PARSING_ERRORS, pydicom().errors.BytesLengthException) as error:
        raise ImageError(
            f"the DICOM file is damaged or cut short ({type(error).__name__}); send the whole file"
        ) from error


def parse(file: BinaryFile, *, pixels: bool, most_pixel_bytes: int = MOST_PIXELS) -> Dataset:
    """The file from its start: with its pixels as they stand there, or all that precedes them.

    Raises:
        ImageError: the file is no DICOM file or a damaged one.
        ImageTooLargeError: it holds more than a header or these pixels can need.
    """
    with translated():
        file.seek(128)
        bare = file.read(4) != b"DICM"  # some leave the preamble out that the standard asks for
        file.seek(0)
        with inflated(file) as whole:
            stop = Bounds(whole, pixels=pixels, most_pixel_bytes=most_pixel_bytes)
            dataset = pydicom().filereader.read_partial(Counted(whole), stop, force=bare)
        if "TransferSyntaxUID" not in dataset.file_meta:
            implicit, little_endian = dataset.original_encoding
            names = {
                (True, True): "ImplicitVRLittleEndian",
                (False, True): "ExplicitVRLittleEndian",
            }
            name = names.get((implicit, little_endian), "ExplicitVRBigEndian")
            dataset.file_meta.TransferSyntaxUID = getattr(pydicom().uid, name)
        return dataset


def is_header(value: object) -> bool:
    """It is a Dataset; of one, its module is imported already."""
    module = sys.modules.get("pydicom.dataset")
    return module is not None and isinstance(value, module.Dataset)


def header_to_bytes(header: Dataset) -> bytes:
    """A header as a file, encoded as it was read."""
    implicit, little_endian = header.original_encoding
    file = io.BytesIO()
    with translated():
        pydicom().dcmwrite(
            file, header, implicit_vr=implicit, little_endian=little_endian, force_encoding=True
        )
    return file.getvalue()


def header_from(content: bytes) -> Dataset:
    """A header from what `header_to_bytes` wrote."""
    with translated():
        return pydicom().dcmread(io.BytesIO(content), force=True)


def is_whole_dicom(path: Path) -> bool:
    """Whether a DICOM object of ours is there to its last byte.

    All elements are as long as they say, and the last one is there.

    pydicom reads a value that is cut as a short one.
    """
    from pydicom.filereader import data_element_generator

    try:
        with path.open("rb") as file:
            header = parse(file, pixels=False)
            implicit, little = header.original_encoding
            size = file.seek(0, 2)
            with translated():
                file.seek(_end_of_meta(header))
                elements = data_element_generator(file, implicit, little, defer_size=1)
                tags = [int(element.tag) for element in elements]
                return file.tell() == size and bool(tags) and tags[-1] in (PIXELS, APPROVAL, REPORT)
    except ImageError:
        return False


def _end_of_meta(header: Dataset) -> int:
    """Where the file meta information ends, behind preamble, word, and its own length."""
    return 128 + 4 + 12 + int(header.file_meta.FileMetaInformationGroupLength)
