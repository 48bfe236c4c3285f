"""Messages between the service and a process that decodes for it: JSON, buffers and open files.

Nothing is pickled: whoever takes over a decoder by a file that breaks it can send numbers and names
from here, and no code.
"""

import array
import json
import os
import socket
import struct
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

_PREFIX = struct.Struct("=QB")
"""Bytes of JSON, and number of files."""
MAX_FILES = 64
MAX_HEAD = 1 << 28
"""Bytes of JSON that are taken from the other side."""

Buffer = bytes | bytearray | memoryview


class ClosedError(Exception):
    """The other side is gone, or says what it must not."""


@dataclass(slots=True)
class Message:
    """What is said: plain data, buffers that it counts, and descriptors of files."""

    head: Any
    buffers: Sequence[Buffer] = ()
    files: list[int] = field(default_factory=list)

    def close(self) -> None:
        """Close the files."""
        while self.files:
            os.close(self.files.pop())


class DecoderChannel:
    """One end of a connection between two processes."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection

    def fileno(self) -> int:
        """For `select`."""
        return self.connection.fileno()

    def send(self, message: Message) -> None:
        """Say it all; the files stay open here.

        Raises:
            ClosedError: the other side is gone.
        """
        sizes = [len(memoryview(buffer).cast("B")) for buffer in message.buffers]
        head = json.dumps([message.head, sizes]).encode()
        try:
            prefix = _PREFIX.pack(len(head), len(message.files))
            if message.files:
                rights = array.array("i", message.files)
                self.connection.sendmsg([prefix], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
            else:
                head = prefix + head
            for part in (head, *message.buffers):
                self.connection.sendall(part)
        except OSError as error:
            raise ClosedError from error

    def receive(self, most_bytes: int) -> Message:
        """Wait for a message.

        Raises:
            ClosedError: the other side is gone, or announces buffers of more than ``most_bytes``.
        """
        files: list[int] = []
        try:
            prefix, files, _, _ = socket.recv_fds(self.connection, _PREFIX.size, MAX_FILES)
            prefix += self._exactly(_PREFIX.size - len(prefix)) if prefix else b""
            if not prefix:
                raise ClosedError
            length, _ = _PREFIX.unpack(prefix)
            if length > MAX_HEAD:
                raise ClosedError
            head, sizes = json.loads(self._exactly(length))
            if sum(sizes) > most_bytes or min(sizes, default=0) < 0:
                raise ClosedError
            return Message(head, [self._exactly(size) for size in sizes], files)
        except (OSError, ValueError, ClosedError) as error:
            for each in files:
                os.close(each)
            raise ClosedError from error

    def _exactly(self, size: int) -> bytearray:
        buffer = bytearray(size)
        view = memoryview(buffer)
        while view:
            count = self.connection.recv_into(view)
            if not count:
                raise ClosedError
            view = view[count:]
        return buffer

    def close(self) -> None:
        """Hang up."""
        self.connection.close()


def memory_file(size: int) -> int:
    """A new file of ``size`` bytes that has no name; in memory where the system can do that."""
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("image", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as unnamed:
            file = os.dup(unnamed.fileno())
    os.ftruncate(file, size)
    return file
