"""The processes that decode, as the service sees them: forked when needed, ended at a limit."""

import atexit
import itertools
import json
import os
import select
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from service.decoding.channel import ClosedError, DecoderChannel, Message
from service.observability.process_memory import own_bytes

PATIENCE_S = 60.0
"""For the server of forks to come up, on a machine that is busy."""
IDLE = 4
"""Decoders that are kept when they have nothing to do."""
GROWN = 64 << 20
"""Bytes by which a decoder may have grown; then its memory is given back by ending it."""
_MOST_BYTES = 1 << 20
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from service.decoding.fork_server import main; main(int(sys.argv[1]))"
)


class ForkServer:
    """The process from which decoders are forked; for any thread."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        path = json.dumps(
            [str(Path(each).absolute()) if each else str(Path.cwd()) for each in sys.path]
        )
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, str(theirs.fileno()), path],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
        ours.settimeout(PATIENCE_S)
        self._control = DecoderChannel(ours)
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._is_ready = False

    def fork(self) -> "DecoderProcess":
        """A new decoder.

        Raises:
            ClosedError: the server has died.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs, self._lock:
                if not self._is_ready:
                    self._control.receive(_MOST_BYTES)
                    self._is_ready = True
                number = next(self._numbers)
                ask = Message({"ask": "fork", "number": number}, (), [theirs.fileno()])
                self._control.send(ask)
                process = self._control.receive(_MOST_BYTES).head
        except ClosedError:
            ours.close()
            raise
        return DecoderProcess(self, number, process, DecoderChannel(ours))

    def end(self, number: int) -> int:
        """End a decoder; its exit status, or the negative number of the signal that ended it.

        Raises:
            ClosedError: the server has died.
        """
        with self._lock:
            self._control.send(Message({"ask": "end", "number": number}))
            return int(self._control.receive(_MOST_BYTES).head)

    def close(self) -> None:
        """End it and all its decoders."""
        self._control.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
            return
        self._process.kill()
        self._process.wait()


class DecoderProcess:
    """A process that decodes; for one thread at a time."""

    def __init__(
        self, server: ForkServer, number: int, process: int, channel: DecoderChannel
    ) -> None:
        self._server = server
        self._number = number
        self._process = process
        self.channel = channel
        self._base = self._resident()

    def taken(self, given: Iterable[int]) -> int:
        """Bytes that it takes now: memory of its own, and files that have no name but ``given``.

        0 where the system does not tell.
        """
        known = {(each.st_dev, each.st_ino) for each in map(os.fstat, given)}
        return max(0, self._resident() - self._base) + self._in_files(known)

    @property
    def is_waiting(self) -> bool:
        """It lives, as one that has nothing to do: it was not killed, and says nothing unasked."""
        poll = select.poll()
        poll.register(self.channel.fileno(), select.POLLIN)
        return not poll.poll(0)

    @property
    def has_grown(self) -> bool:
        """It is better ended than kept."""
        return self._resident() - self._base > GROWN

    def end(self) -> int:
        """As `ForkServer.end`."""
        self.channel.close()
        with suppress(ClosedError):
            return self._server.end(self._number)
        return -9

    def _resident(self) -> int:
        return own_bytes(self._process)

    def _in_files(self, counted: set[tuple[int, int]]) -> int:
        total = 0
        folder = f"/proc/{self._process}/fd"
        with suppress(OSError):
            for name in os.listdir(folder):  # noqa: PTH208  names are needed, fast
                with suppress(OSError):
                    status = os.stat(f"{folder}/{name}")  # noqa: PTH116
                    if (
                        stat.S_ISREG(status.st_mode)
                        and not status.st_nlink
                        and (status.st_dev, status.st_ino) not in counted
                    ):
                        total += status.st_blocks * 512
        return total


class Decoders:
    """Those of this process, kept while they are of use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server: ForkServer | None = None
        self._idle: list[DecoderProcess] = []
        atexit.register(self.close)

    def start(self) -> ForkServer:
        """Begin to bring up the server of forks, which takes a second or two."""
        with self._lock:
            self._server = self._server or ForkServer()
            return self._server

    def lend(self, *, new: bool = False) -> DecoderProcess:
        """A decoder that has nothing to do.

        Raises:
            ClosedError: there is none to be had.
        """
        while not new and (idle := self._popped()):
            if idle.is_waiting:
                return idle
            idle.end()
        server = self.start()
        try:
            return server.fork()
        except ClosedError:  # it was killed: once more
            with self._lock:
                if self._server is server:
                    server.close()
                    for each in self._idle:
                        each.channel.close()
                    self._idle, self._server = [], None
        return self.start().fork()

    def _popped(self) -> DecoderProcess | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def give_back(self, decoder: DecoderProcess) -> None:
        """It is done with its task."""
        if not decoder.has_grown:
            with self._lock:
                if len(self._idle) < IDLE:
                    self._idle.append(decoder)
                    return
        decoder.end()

    def close(self) -> None:
        """End all."""
        with self._lock:
            server, self._server, self._idle = self._server, None, []
        if server is not None:
            server.close()


DECODERS = Decoders()
"""Those of this process, whatever applications it has."""
