"""Images and arrays on their way from one process to another, as plain data, buffers and files."""

import importlib
import mmap
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from math import prod
from typing import Any

import numpy as np
from jaxtyping import Shaped

from seg.images.dicom.file import header_from, header_to_bytes, is_header
from seg.sentences import Sentence
from service.decoding.channel import Buffer, Message, memory_file

ROOM = "seg.images."
"""The only room whose dataclasses cross."""
INLINE = 1 << 20
"""Bytes of an array that are copied through the connection; larger ones lie in a file."""
MOST_INLINE = 1 << 31


class UnknownTypeError(TypeError):
    """A value that does not cross, or a message that names what is none of ours."""


@dataclass(slots=True)
class _Packing:
    buffers: list[Buffer] = field(default_factory=list)
    files: list[int] = field(default_factory=list)

    def of(self, value: Any) -> Any:
        if isinstance(value, Sentence):
            filled = self.of(value.parameters)
            return {"sentence": str(value), "code": value.code, "filled": filled}
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, bytes):
            return {"bytes": self._kept(value)}
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, tuple | list):
            parts = [self.of(each) for each in value]
            return {"tuple": parts} if isinstance(value, tuple) else parts
        if isinstance(value, Mapping) and not is_header(value):
            return {"mapping": [[self.of(key), self.of(each)] for key, each in value.items()]}
        if is_header(value):
            return {"header": self._kept(header_to_bytes(value))}
        kind = type(value)
        if is_dataclass(value) and kind.__module__.startswith(ROOM):
            given = {each.name: self.of(getattr(value, each.name)) for each in fields(value)}
            return {"type": [kind.__module__, kind.__qualname__], "fields": given}
        raise UnknownTypeError(f"{kind.__module__}.{kind.__qualname__} does not cross")

    def _kept(self, content: Buffer) -> int:
        self.buffers.append(content)
        return len(self.buffers) - 1

    def _array(self, value: Shaped[np.ndarray, "..."]) -> Any:
        if value.dtype.kind not in "biufc":
            raise UnknownTypeError(f"an array of {value.dtype} does not cross")
        told = {"dtype": value.dtype.str, "shape": list(value.shape)}
        if value.nbytes <= INLINE:
            return {"array": told, "buffer": self._kept(value.tobytes())}
        file = memory_file(value.nbytes)
        self.files.append(file)
        if value.flags.c_contiguous:  # half as long as by a map, whose pages come one by one
            _write(file, value.data.cast("B"))
        else:
            with mmap.mmap(file, value.nbytes) as memory:
                np.frombuffer(memory, value.dtype).reshape(value.shape)[...] = value
        return {"array": told, "file": len(self.files) - 1}


@dataclass(slots=True)
class _Unpacking:
    buffers: Sequence[Buffer]
    files: Sequence[int]

    def of(self, plain: Any) -> Any:
        if isinstance(plain, list):
            return [self.of(each) for each in plain]
        if not isinstance(plain, dict):
            return plain
        if "array" in plain:
            return self._array(**plain)
        if "tuple" in plain:
            return tuple(self.of(each) for each in plain["tuple"])
        if "mapping" in plain:
            return {self.of(key): self.of(each) for key, each in plain["mapping"]}
        if "sentence" in plain:
            return Sentence(plain["sentence"], plain["code"], **self.of(plain["filled"]))
        if "bytes" in plain:
            return bytes(self.buffers[plain["bytes"]])
        if "header" in plain:
            return header_from(bytes(self.buffers[plain["header"]]))
        given = {name: self.of(each) for name, each in plain["fields"].items()}
        return _class_of(*plain["type"])(**given)

    def _array(
        self, array: Any, buffer: int | None = None, file: int | None = None
    ) -> Shaped[np.ndarray, "..."]:
        dtype, shape = np.dtype(array["dtype"]), tuple(array["shape"])
        if dtype.kind not in "biufc":
            raise UnknownTypeError(f"an array of {dtype} does not cross")
        content: Any
        if file is None:
            assert buffer is not None
            content = self.buffers[buffer]
        else:
            # Private: what is written here is nobody else's, whoever holds the file.
            content = mmap.mmap(
                self.files[file], prod(shape) * dtype.itemsize, flags=mmap.MAP_PRIVATE
            )
        return np.frombuffer(content, dtype, prod(shape)).reshape(shape)


def _write(file: int, content: memoryview) -> None:
    """All of it at the file's begin."""
    place = 0
    while place < len(content):
        place += os.pwrite(file, content[place:], place)


def _class_of(module: str, name: str) -> type:
    if not module.startswith(ROOM) or "." in name:
        raise UnknownTypeError(f"{module}.{name} does not cross")
    kind = getattr(importlib.import_module(module), name)
    if not (isinstance(kind, type) and is_dataclass(kind) and kind.__module__ == module):
        raise UnknownTypeError(f"{module}.{name} does not cross")
    return kind


def packed(value: Any) -> Message:
    """A value as a message; its files are to be closed when it has been sent.

    Raises:
        UnknownTypeError: it is nothing that crosses.
    """
    packing = _Packing()
    try:
        head = packing.of(value)
    except BaseException:
        Message(None, (), packing.files).close()
        raise
    return Message(head, packing.buffers, packing.files)


def unpacked(message: Message) -> Any:
    """The value of a message; arrays of its files stay when the files are closed."""
    return _Unpacking(message.buffers, message.files).of(message.head)
