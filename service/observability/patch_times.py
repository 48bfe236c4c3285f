"""Where the time of an image goes: its patches wait for a device, or run, or neither."""

from collections.abc import Iterable
from dataclasses import dataclass, field

Interval = tuple[float, float]
"""Begin and end, by ``perf_counter``."""


@dataclass(frozen=True)
class Shares:
    """Seconds, which add up to those between begin and end."""

    queue: float
    """Some of its patches waited, and none ran."""
    network: float
    """At least one of its patches ran."""
    stitch: float
    """The network had nothing of it: it was prepared, blended or labelled."""


@dataclass
class Occupancy:
    """Intervals of the patches of one image; patches may be added from any thread."""

    waited: list[Interval] = field(default_factory=list)
    ran: list[Interval] = field(default_factory=list)

    def add(self, submitted: float, began: float, ended: float) -> None:
        """A patch has run."""
        self.waited.append((submitted, began))
        self.ran.append((began, ended))

    def shares(self, begin: float, end: float) -> Shares:
        """Of the time from begin to end, in which all of it happened."""
        network = covered(self.ran)
        occupied = covered([*self.waited, *self.ran])
        return Shares(occupied - network, network, max(0.0, end - begin - occupied))


def covered(intervals: Iterable[Interval]) -> float:
    """Length of the union of intervals."""
    length, reached = 0.0, float("-inf")
    for begin, end in sorted(intervals):
        length += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return length
