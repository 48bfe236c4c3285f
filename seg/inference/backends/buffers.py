"""Arrays that a network writes its answers into, used again when nobody holds them any more.

Memory that is new for every run is paged in while it is written, and a card writes to memory of
which the system may move no page several times as fast: such pages are slow to get, so they are
kept. An array is lent: when it and all views of it are gone, its memory is free for the next run.
"""

import mmap
import weakref
from collections import defaultdict, deque
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy.typing import DTypeLike

Lock = Callable[[int, int], Callable[[], None] | None]
"""Keeps the pages from an address on, of so many bytes, where they are, and returns what lets them
go; None where that cannot be done."""


class Buffers:
    """Memory for the outputs of one network."""

    def __init__(self, kept: int, lock: Lock | None = None) -> None:
        """Be empty.

        Args:
            kept: free pieces of each size that are held at most.
            lock: of pages, for a card.
        """
        self._lock = lock
        self._free: defaultdict[int, deque[_Memory]] = defaultdict(lambda: deque(maxlen=kept))
        self.made = 0
        """Pieces that were not there when they were asked for."""

    def array(self, shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
        """An array that is anybody's who holds it, with whatever was in it before."""
        size = prod(shape) * np.dtype(dtype).itemsize
        try:
            memory = self._free[size].pop()
        except IndexError:
            memory = _Memory(size, self._lock)
            self.made += 1
        loan = _Loan(memory.bytes)
        # nothing is locked here: the collector may run this in the midst of anything
        weakref.finalize(loan, self._free[size].append, memory).atexit = False
        return np.asarray(loan)[:size].view(dtype).reshape(shape)

    def clear(self) -> None:
        """Give back what nobody holds."""
        for free in list(self._free.values()):
            free.clear()


class _Memory:
    """Whole pages of its own."""

    def __init__(self, size: int, lock: Lock | None) -> None:
        self._pages = mmap.mmap(-1, max(1, size))
        self.bytes: UInt8[np.ndarray, " n"] = np.frombuffer(self._pages, np.uint8)
        release = lock(self.bytes.ctypes.data, len(self.bytes)) if lock else None
        if release:
            weakref.finalize(self, release).atexit = False


class _Loan:
    """What an array and its views hold on to."""

    def __init__(self, memory: UInt8[np.ndarray, " n"]) -> None:
        self._memory = memory

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return dict(self._memory.__array_interface__)
