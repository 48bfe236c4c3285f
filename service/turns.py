"""Patches that wait for a device, and whose turn it is.

Letters: ``c`` channels, ``k`` classes.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from seg.inference import Backend

BACKGROUND_SHARE = 16
"""Of so many patches one is a job's where both wait, so that a busy service still ends its jobs."""

Patch = Float[np.ndarray, "c *patch"]
Logits = Float[np.ndarray, "k *patch"]
RunListener = Callable[[float, float], None]
"""Called with a run's begin and end, by ``perf_counter``."""


@dataclass(slots=True, eq=False)
class Ticket:
    """One patch on its way; it carries its own answer, so that answers cannot be mixed up."""

    request: int
    patch: Patch
    backend: Backend
    is_background: bool = False
    on_run: RunListener = lambda began, ended: None
    logits: "Future[Logits]" = field(default_factory=Future)


class _Turns:
    """Tickets that wait, one queue a request; requests take turns."""

    def __init__(self) -> None:
        self._queues: OrderedDict[int, deque[Ticket]] = OrderedDict()

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    def put(self, ticket: Ticket) -> None:
        self._queues.setdefault(ticket.request, deque()).append(ticket)

    def take(self) -> Ticket:
        request, queue = self._queues.popitem(last=False)
        ticket = queue.popleft()
        if queue:
            self._queues[request] = queue
        return ticket

    def drop(self, request: int) -> list[Ticket]:
        return list(self._queues.pop(request, ()))


class WaitingTickets:
    """Tickets of requests, and behind them those of jobs."""

    def __init__(self) -> None:
        self._requests = _Turns()
        self._jobs = _Turns()
        self._taken_before_jobs = 0

    def __len__(self) -> int:
        return len(self._requests) + len(self._jobs)

    def put(self, tickets: Sequence[Ticket]) -> None:
        """Queue them."""
        for ticket in tickets:
            (self._jobs if ticket.is_background else self._requests).put(ticket)

    def take(self, most: int) -> list[Ticket]:
        """Those whose turn it is."""
        return [self._next() for _ in range(min(most, len(self)))]

    def drop(self, request: int) -> list[Ticket]:
        """All that waits of a request, which waits no more."""
        return self._requests.drop(request) + self._jobs.drop(request)

    def _next(self) -> Ticket:
        is_jobs_turn = self._taken_before_jobs >= BACKGROUND_SHARE - 1
        if self._jobs and (is_jobs_turn or not self._requests):
            self._taken_before_jobs = 0
            return self._jobs.take()
        self._taken_before_jobs += bool(self._jobs)
        return self._requests.take()
