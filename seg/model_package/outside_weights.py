"""Which files an ONNX file takes its weights from, told before anything loads it.

Runtimes disagree on what such a name may be: onnxruntime stays in the folder and so reads any file
of it, OpenVINO also takes an address in memory for one. Only the fields that lead to tensors are
followed; their numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from seg.errors import PackageError
from seg.protobuf import SUBMESSAGE, WireField, field_at

MOST_FIELDS = 2_000_000
"""Of a file: nodes, their attributes, tensors; a network of a hundred thousand nodes has fewer."""
LONGEST_ENTRY = 4096
"""Bytes of a key and its value."""
_KEY, _VALUE = 1, 2
_EXTERNAL = 13

_Layout = dict[int, Any]
"""By the number of a field: the layout of the messages in it that lead to tensors."""
_TENSOR: _Layout = {_EXTERNAL: {}}
_SPARSE: _Layout = {1: _TENSOR, 2: _TENSOR}
_NODE: _Layout = {}
_GRAPH: _Layout = {1: _NODE, 5: _TENSOR, 15: _SPARSE}
_ATTRIBUTE: _Layout = {
    **{5: _TENSOR, 10: _TENSOR, 6: _GRAPH, 11: _GRAPH},
    **{22: _SPARSE, 23: _SPARSE},
}
_NODE[5] = _ATTRIBUTE
_FUNCTION: _Layout = {7: _NODE, 11: _ATTRIBUTE}
_MODEL: _Layout = {7: _GRAPH, 20: {1: _GRAPH, 2: _GRAPH}, 25: _FUNCTION}


def outside_weights(file: Path) -> set[str]:
    """Names of all files in which a network's tensors lie.

    Raises:
        PackageError: the file is no ONNX, or has too many parts to be a network.
    """
    try:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as m:
            return {place for entry in _entries(m) if (place := _location(m, *entry)) is not None}
    except ValueError as error:
        raise PackageError(f"{file.name} is no ONNX file; export the package again") from error


def _entries(content: mmap.mmap) -> Iterator[tuple[int, int]]:
    """Where each entry of ``external_data`` lies."""
    waiting: list[tuple[int, int, Mapping[int, Any]]] = [(0, len(content), _MODEL)]
    left = MOST_FIELDS
    while waiting:
        at, end, layout = waiting.pop()
        for number, kind, begin, after in _fields(content, at, end):
            left -= 1
            if left < 0:
                raise PackageError(
                    f"a network has at most {MOST_FIELDS:,} parts, this one has more"
                )
            if number not in layout or kind != SUBMESSAGE:
                continue
            if layout is _TENSOR:
                yield begin, after
            else:
                waiting.append((begin, after, layout[number]))


def _location(content: mmap.mmap, begin: int, end: int) -> str | None:
    """The file that an entry names; None of entries about something else."""
    if end - begin > LONGEST_ENTRY:
        raise ValueError
    found = {number: content[at:after] for number, _, at, after in _fields(content, begin, end)}
    is_place = found.get(_KEY) == b"location"
    return found.get(_VALUE, b"").decode("utf-8", "replace") if is_place else None


def _fields(content: mmap.mmap, at: int, end: int) -> Iterator[WireField]:
    while at < end:
        field = field_at(content, at, end)
        yield field
        at = field.end
