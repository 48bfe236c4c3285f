"""The memory that all decoding may take together, in memory and on disk."""

import itertools
import threading
from dataclasses import dataclass, field

from seg.errors import ImageTooLargeError
from service.errors import DecodingFullError

FREE_BYTES = 16 << 20
"""What a decoding may take however full it is: ordinary pictures go on beside a large volume."""

_NUMBERS = itertools.count()


@dataclass(slots=True, eq=False)
class Lease:
    """What one image takes now."""

    budget: "DecodingBudget"
    used: int = 0
    number: int = field(default_factory=lambda: next(_NUMBERS))

    def take(self, used: int) -> None:
        """Say how many bytes it is now.

        Raises:
            ImageTooLargeError: it is more than all may have together.
            DecodingFullError: it is too much beside those that began before.
        """
        self.budget.take(self, used)

    def release(self) -> None:
        """It is gone."""
        self.budget.release(self)


class DecodingBudget:
    """Shared by all requests of a process; for any thread."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._lock = threading.Lock()
        self._leases: set[Lease] = set()

    @property
    def used(self) -> int:
        """Bytes that are taken now."""
        with self._lock:
            return sum(lease.used for lease in self._leases)

    def lease(self) -> Lease:
        """A lease of nothing yet."""
        return Lease(self)

    def take(self, lease: Lease, used: int) -> None:
        """As `Lease.take`."""
        with self._lock:
            lease.used = used
            self._leases.add(lease)
            if used > self.total:
                raise ImageTooLargeError(
                    f"the image takes more than the {self.total >> 20:,} MiB that decoding may "
                    "have here; crop it, make it coarser, or raise SEG_MAX_DECODING_MB"
                )
            if used > FREE_BYTES and self._before(lease) + used > self.total:
                raise DecodingFullError

    def release(self, lease: Lease) -> None:
        """As `Lease.release`."""
        with self._lock:
            self._leases.discard(lease)

    def _before(self, lease: Lease) -> int:
        """What those have that began before: the newest goes when it gets too much."""
        return sum(each.used for each in self._leases if each.number < lease.number)
