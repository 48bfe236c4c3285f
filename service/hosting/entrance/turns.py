"""Requests take turns: of a thousand that come at once some are begun, then others have theirs.

An event loop does all that is ready before it looks again at what came. Requests that come in one
go would be parsed, begun and answered as one, and a probe that comes then waits for all of them.
So only as many are begun in a round of the loop as take little, and probes are begun first.
"""

import asyncio
from time import thread_time
from typing import Protocol
from weakref import WeakKeyDictionary

PROBES = (b"GET /livez ", b"GET /readyz ", b"HEAD /livez ", b"HEAD /readyz ")
"""What requests begin with that are begun before others."""
PROBE_BYTES = max(map(len, PROBES))
ROUND_S = 0.0015
"""Seconds of this thread's CPU that a round of the loop should take."""
FEWEST, MOST = 1, 64
"""Requests that are begun in a round."""
MOST_WAITING = 1024
"""Connections whose next request waits for its turn; of more the one that waits longest is sent
away."""

CROWDED = "more is asked than can be taken up; try again later"


class Waiting(Protocol):
    """A connection whose next request is at hand."""

    def on_turn(self) -> None:
        """It may be begun."""
        ...

    def on_crowded_out(self) -> None:
        """Too many wait."""
        ...


def turns_of(loop: asyncio.AbstractEventLoop) -> "Turns":
    """Those of a loop."""
    if loop not in _TURNS:
        _TURNS[loop] = Turns(loop)
    return _TURNS[loop]


def is_probe(head: bytes) -> bool:
    """Whether the first bytes of a request are those of a probe."""
    return head.startswith(PROBES)


class Turns:
    """Of an event loop; for its thread alone."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lanes: tuple[dict[Waiting, None], dict[Waiting, None]] = ({}, {})
        """Probes, and all others, in the order in which they came."""
        self._size = 8.0
        """Requests of a round, as measured."""
        self._left = int(self._size)
        self._is_in_round = False
        self._begun = 0.0

    def take(self, connection: Waiting, *, probe: bool) -> bool:
        """Whether a request may be begun at once; its connection is told later if not."""
        is_first = not any(self._lanes[:1] if probe else self._lanes)
        if self._left > 0 and is_first:
            self._left -= 1
            self._go_round()
            return True
        lane = self._lanes[0 if probe else 1]
        lane.setdefault(connection)
        if len(lane) > MOST_WAITING:
            oldest = next(iter(lane))
            del lane[oldest]
            oldest.on_crowded_out()
        self._go_round()
        return False

    def forget(self, connection: Waiting) -> None:
        """It has gone."""
        for lane in self._lanes:
            lane.pop(connection, None)

    def _go_round(self) -> None:
        if not self._is_in_round:
            self._is_in_round = True
            self._begun = thread_time()
            self._loop.call_soon(self._round)

    def _round(self) -> None:
        """Once in each round of the loop, as long as somebody waits."""
        now = thread_time()
        if now - self._begun > ROUND_S:
            self._size = max(FEWEST, 0.7 * self._size)
        else:
            self._size = min(MOST, self._size + 0.5)
        self._begun, self._left = now, int(self._size)
        for lane in self._lanes:
            while lane and self._left > 0:
                connection = next(iter(lane))
                del lane[connection]
                self._left -= 1
                connection.on_turn()
        self._is_in_round = any(self._lanes) or self._left < int(self._size)
        if self._is_in_round:
            self._loop.call_soon(self._round)


_TURNS: WeakKeyDictionary[asyncio.AbstractEventLoop, Turns] = WeakKeyDictionary()
