"""Memory that the processes of a service map together: what they have taken on, in one place.

Each process writes into a column of its own, and what counts is the sum of the columns. A process
that was killed leaves its column behind; it is emptied before anybody is refused because of it.
Where one process serves alone, the memory is its own.
"""

import fcntl
import functools
import mmap
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from service.sharing.folder import SHARED

FILE = "limits"
COLUMNS = 64
"""Processes; those beyond count for themselves."""
LEASES = 256
"""Decodings of a process at the same time."""
SETS, WAYS = 4096, 4
"""A client is written down in one of the ways of its set."""
SECRET_BYTES = 16

CLIENT = np.dtype([("tag", "u8"), ("due", "f8"), ("active", "u2", (COLUMNS,))])
LAYOUT = np.dtype(
    [
        ("secret", "u1", (SECRET_BYTES,)),
        ("owners", "i8", (COLUMNS,)),
        ("uploads", "i8", (COLUMNS,)),
        ("begun", "f8", (COLUMNS, LEASES)),
        ("used", "i8", (COLUMNS, LEASES)),
        ("clients", CLIENT, (SETS, WAYS)),
    ]
)


class SharedMemory:
    """For any thread; of several processes if they name one file.

    Args:
        file: is made if it is not there; None shares with nobody.

    Raises:
        OSError: there is no room for it.
    """

    def __init__(self, file: Path | None) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self._file = -1 if file is None else os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        if file is not None:
            os.ftruncate(self._file, LAYOUT.itemsize)
        mapped = np.frombuffer(mmap.mmap(self._file, LAYOUT.itemsize), LAYOUT)
        self._owners: Int64[np.ndarray, " columns"] = mapped["owners"][0]
        self._secret: UInt8[np.ndarray, " bytes"] = mapped["secret"][0]
        self.uploads: Int64[np.ndarray, " columns"] = mapped["uploads"][0]
        """Bytes of bodies that each process holds."""
        self.begun: Float64[np.ndarray, "columns leases"] = mapped["begun"][0]
        """When each decoding began, on the clock that all processes share; 0 for none."""
        self.used: Int64[np.ndarray, "columns leases"] = mapped["used"][0]
        """Bytes that each decoding takes."""
        self.clients: np.ndarray = mapped["clients"][0]
        """Records of ``CLIENT``, ``(sets, ways)``."""
        with self.locked():
            if not self._secret.any():
                self._secret[:] = np.frombuffer(os.urandom(SECRET_BYTES), np.uint8)
            self.column = self._claimed()

    @classmethod
    def of_this_service(cls) -> "SharedMemory":
        """That of the processes of this one's supervisor; one of its own where it serves alone."""
        folder = os.environ.get(SHARED)
        return _in(Path(folder)) if folder else cls(None)

    @property
    def secret(self) -> bytes:
        """Chosen at random, the same for all processes."""
        return self._secret.tobytes()

    @property
    def processes(self) -> int:
        """How many there are."""
        return int((self._owners > 0).sum())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else reads or writes meanwhile; the lock of a process that dies is free."""
        with self._lock:
            self._depth += 1
            try:
                if self._file >= 0 and self._depth == 1:
                    fcntl.flock(self._file, fcntl.LOCK_EX)
                yield
            finally:
                self._depth -= 1
                if self._file >= 0 and not self._depth:
                    fcntl.flock(self._file, fcntl.LOCK_UN)

    def forget_the_dead(self) -> None:
        """Empty the columns of processes that have died; to be called locked."""
        for column in np.flatnonzero(self._owners):
            if not is_alive(int(self._owners[column])):
                self._empty(int(column))

    def stays(self, is_full: Callable[[], bool]) -> bool:
        """Whether it is full, also without what the dead have left; to be called locked."""
        if not is_full():
            return False
        self.forget_the_dead()
        return is_full()

    def _claimed(self) -> int:
        self.forget_the_dead()
        free = np.flatnonzero(self._owners == 0)
        if not len(free):
            raise OSError(f"more than {COLUMNS} processes serve")
        column = int(free[0])
        self._empty(column)
        self._owners[column] = os.getpid()
        return column

    def _empty(self, column: int) -> None:
        self._owners[column] = 0
        self.uploads[column] = 0
        self.begun[column] = 0
        self.used[column] = 0
        self.clients["active"][..., column] = 0


@functools.cache
def _in(folder: Path) -> SharedMemory:
    try:
        return SharedMemory(folder / FILE)
    except OSError:  # no room, or too many processes: it counts for itself
        return SharedMemory(None)


def is_alive(process: int) -> bool:
    """Whether a process of this user runs."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's by now
        return False
    return True
