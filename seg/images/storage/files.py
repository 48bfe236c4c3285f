"""Bytes from a path, from memory, or from an open file."""

import io
import stat
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from seg.errors import ImageError, ImageTooLargeError

BinaryFile = io.BytesIO | io.BufferedReader
"""What readers get: a file that can be read from any place."""

Source = Path | bytes | BinaryFile
"""What images are read from; an open file has no name that could be told, and none beside it."""

UNPACKED_IN_MEMORY = 4 << 20
"""Bytes of what is unpacked that stay in memory; what is more goes to a temporary file."""
CHUNK_BYTES = 1 << 20


DAMAGE = (
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    SyntaxError,
    EOFError,
    MemoryError,
    struct.error,
    zlib.error,
)
"""What the libraries of formats raise on bytes that are not the file they should be."""


@contextmanager
def open_binary(source: Source) -> Iterator[BinaryFile]:
    """The source as a binary file, at its start.

    Raises:
        ImageError: the path cannot be opened, or what is wrong with the image in it; either way
            the message begins with the path. Bytes have no name that could be told.
    """
    if isinstance(source, bytes):
        yield io.BytesIO(source)
        return
    if not isinstance(source, Path):
        source.seek(0)
        yield source
        return
    try:
        if not stat.S_ISREG(source.stat().st_mode):
            raise ImageError(f"{source} is no file, but a folder, a pipe or a device")
        file = source.open("rb")
    except OSError as error:
        raise ImageError(f"{source} cannot be opened: {error.strerror}") from error
    with file:
        try:
            yield file
        except ImageError as error:
            raise type(error)(f"{source}: {error}") from error


@contextmanager
def unpacked(read: Callable[[int], bytes], most_bytes: int) -> Iterator[BinaryFile]:
    """All that ``read`` gives, piece by piece, as a file; of much of it, only a piece is in memory.

    Args:
        read: So many bytes of what is packed, unpacked, or fewer; none at its end.
        most_bytes: That may come.

    Raises:
        ImageTooLargeError: more come.
    """
    content = bytearray()
    with tempfile.TemporaryFile() as file:
        size = 0
        while chunk := read(CHUNK_BYTES):
            size += len(chunk)
            if size > most_bytes:
                raise ImageTooLargeError(
                    f"at most {most_bytes:,} bytes are unpacked, the file holds more; send it "
                    "unpacked, or a smaller one"
                )
            content += chunk
            if size > UNPACKED_IN_MEMORY:
                file.write(content)
                content.clear()
        if size <= UNPACKED_IN_MEMORY:
            yield io.BytesIO(content)
            return
        file.write(content)
        file.flush()
        file.seek(0)
        with open(file.fileno(), "rb", closefd=False) as reader:
            yield reader


PARSING_ERRORS = (*DAMAGE, UnboundLocalError)  # a NameError of pydicom's own
