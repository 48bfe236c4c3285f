"""Fields of a protobuf message, without parsing it: a parser makes much of little.

Source of the encoding: https://protobuf.dev/programming-guides/encoding/.
"""

import mmap
from typing import NamedTuple

SUBMESSAGE = 2
"""Wire type of messages, texts and bytes."""
_VARINT = 0
_LENGTHS = {1: 8, 5: 4}
"""Bytes of numbers that are not written as varints, by their wire type."""


class WireField(NamedTuple):
    """Where the content of a field lies."""

    number: int
    kind: int
    """Its wire type."""
    begin: int
    end: int


def field_at(content: bytes | mmap.mmap, at: int, end: int) -> WireField:
    """The field that begins at a place within a message that ends at another.

    Raises:
        ValueError: there is none.
    """
    try:
        tag, begin = _varint(content, at)
        kind = tag & 7
        if kind == _VARINT:
            _, after = _varint(content, begin)
        elif kind == SUBMESSAGE:
            length, begin = _varint(content, begin)
            after = begin + length
        else:
            after = begin + _LENGTHS[kind]  # of groups nobody makes use any more
    except LookupError as error:
        raise ValueError from error
    if after > end:
        raise ValueError
    return WireField(tag >> 3, kind, begin, after)


def _varint(content: bytes | mmap.mmap, at: int) -> tuple[int, int]:
    """A number, and where the next one begins."""
    found = 0
    for shift in range(0, 70, 7):
        byte = content[at]
        at += 1
        found |= (byte & 127) << shift
        if byte < 128:
            return found, at
    raise ValueError
