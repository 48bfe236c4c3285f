"""Bytes from a path or from memory."""

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, runtime_checkable

from seg.errors import ImageError

BinaryFile = io.BytesIO | io.BufferedReader
"""What readers get: a file that can be read from any place."""


@runtime_checkable
class Rewindable(Protocol):
    """What an uploaded file can do, wherever it is kept."""

    def read(self, size: int = -1, /) -> bytes:
        """So many bytes; all that are left of a negative number."""
        ...

    def seek(self, offset: int, /) -> int:
        """Go to that byte."""
        ...


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
def open_binary(source: Path | bytes) -> Iterator[BinaryFile]:
    """The source as a binary file, at its start.

    Raises:
        ImageError: the path cannot be opened, or what is wrong with the image in it; either way
            the message begins with the path. Bytes have no name that could be told.
    """
    if isinstance(source, bytes):
        yield io.BytesIO(source)
        return
    try:
        file = source.open("rb")
    except OSError as error:
        raise ImageError(f"{source} cannot be opened: {error.strerror}") from error
    with file:
        try:
            yield file
        except ImageError as error:
            raise type(error)(f"{source}: {error}") from error


PARSING_ERRORS = (*DAMAGE, UnboundLocalError)  # a NameError of pydicom's own
