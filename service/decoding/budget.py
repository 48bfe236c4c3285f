"""The memory that all decoding may take together, in memory and on disk."""

from dataclasses import dataclass
from time import monotonic

import numpy as np

from seg.errors import ImageTooLargeError
from service.errors import DecodingFullError
from service.sharing.memory import SharedMemory

FREE_BYTES = 16 << 20
"""What a decoding may take however full it is: ordinary pictures go on beside a large volume."""
_BEFORE_ALL = np.nextafter(0.0, 1.0)
"""When began what cannot give way any more."""


@dataclass(slots=True, eq=False)
class Lease:
    """What one image takes now."""

    budget: "DecodingBudget"
    begun: float
    place: int | None = None
    """Of this process's, where it is written down; None as long as it takes nothing."""

    def take(self, used: int) -> None:
        """Say how many bytes it is now.

        Raises:
            ImageTooLargeError: it is more than all may have together.
            DecodingFullError: it is too much beside those that began before.
        """
        self.budget.take(self, used)

    def keep(self, used: int) -> None:
        """Say how many bytes it is from now on: what is done cannot be ended, others give way.

        Raises:
            ImageTooLargeError: as of `take`.
            DecodingFullError: as of `take`.
        """
        self.budget.keep(self, used)

    def release(self) -> None:
        """It is gone."""
        self.budget.release(self)


class DecodingBudget:
    """Shared by all requests of all processes that share a memory; for any thread."""

    def __init__(self, total: int, memory: SharedMemory | None = None) -> None:
        self.total = total
        self._memory = memory or SharedMemory(None)

    @property
    def used(self) -> int:
        """Bytes that are taken now."""
        return int(self._memory.used.sum())

    def lease(self) -> Lease:
        """A lease of nothing yet."""
        return Lease(self, monotonic())

    def take(self, lease: Lease, used: int) -> None:
        """As `Lease.take`."""
        memory = self._memory
        with memory.locked():
            if lease.place is None:
                lease.place = self._place(lease)
            memory.used[memory.column, lease.place] = used
            self.require_ever(used)
            if used > FREE_BYTES and memory.stays(lambda: self._before(lease) + used > self.total):
                raise DecodingFullError

    def keep(self, lease: Lease, used: int) -> None:
        """As `Lease.keep`."""
        memory = self._memory
        with memory.locked():
            self.take(lease, used)
            memory.begun[memory.column, lease.place] = lease.begun = _BEFORE_ALL

    def require_ever(self, used: int) -> None:
        """Pass where one image may have so many bytes when nobody else has any.

        Raises:
            ImageTooLargeError: it never may.
        """
        if used > self.total:
            raise ImageTooLargeError(
                f"the image takes more than the {self.total >> 20:,} MiB that decoding may "
                "have here; crop it, make it coarser, or raise SEG_MAX_DECODING_MB"
            )

    def release(self, lease: Lease) -> None:
        """As `Lease.release`."""
        if lease.place is not None:
            memory, place = self._memory, lease.place
            with memory.locked():
                memory.begun[memory.column, place] = memory.used[memory.column, place] = 0
            lease.place = None

    def _place(self, lease: Lease) -> int:
        memory = self._memory
        free = np.flatnonzero(memory.begun[memory.column] == 0)
        if not len(free):
            raise DecodingFullError
        memory.begun[memory.column, free[0]] = lease.begun
        return int(free[0])

    def _before(self, lease: Lease) -> int:
        """What those have that began before, or are done: the newest goes when it gets too much."""
        return int(self._memory.used[self._memory.begun < lease.begun].sum())
