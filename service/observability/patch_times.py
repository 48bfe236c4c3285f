"""Where the time of an image goes: its patches wait for a device, or run, or neither."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic

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


class RunsUnderWay:
    """Runs of a network that have begun and not ended; from any thread."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        """None; ``clock`` in seconds."""
        self._clock = clock
        self._begun: dict[object, float] = {}

    @contextmanager
    def running(self) -> Iterator[None]:
        """For as long as a run takes."""
        run = object()
        self._begun[run] = self._clock()
        try:
            yield
        finally:
            del self._begun[run]

    @property
    def longest_s(self) -> float:
        """Seconds that the longest of them has taken until now; 0 or less where there is none."""
        return self._clock() - min(list(self._begun.values()), default=math.inf)


def covered(intervals: Iterable[Interval]) -> float:
    """Length of the union of intervals."""
    length, reached = 0.0, float("-inf")
    for begin, end in sorted(intervals):
        length += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return length
