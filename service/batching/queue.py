"""Patches that wait for a device, and whose turn it is.

Letters: ``c`` channels, ``k`` classes.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from jaxtyping import Float

from seg.inference import Backend
from seg.inference.backends.features import Heard

BACKGROUND_SHARE = 16
"""Of so many patches one is a job's where both wait, so that a busy service still ends its jobs."""

Patch = Float[np.ndarray, "c *patch"]
Logits = Float[np.ndarray, "k *patch"]
RunListener = Callable[[float, float], None]
"""Called with a run's begin and end, by ``perf_counter``."""
Running = Callable[[], AbstractContextManager[None]]
"""Entered for as long as a run takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchCaller:
    """Who brings patches: one request, or one job."""

    id: int
    is_background: bool = False
    """A job, whose patches wait behind those of requests."""
    on_run: RunListener = lambda began, ended: None
    """Is told of the run of each patch, before its logits are there."""
    running: Running = nullcontext
    """Is told of the run of each patch while it lasts."""
    check: Callable[[], None] = lambda: None
    """Raises where nobody waits for the logits any more; called when ``drop`` would find them."""


@dataclass(slots=True, eq=False, kw_only=True)
class Place:
    """Of one patch in the queue for a device."""

    request: int
    is_background: bool = False


@dataclass(slots=True, eq=False, kw_only=True)
class Ticket(Place):
    """One patch on its way; it carries its own answer, so that answers cannot be mixed up."""

    patch: Patch
    backend: Backend
    on_run: RunListener = lambda began, ended: None
    running: Running = nullcontext
    logits: "Future[Logits]" = field(default_factory=Future)
    heard: list[Heard] = field(default_factory=list)
    """What networks saw of the patch; whole when its logits are."""


@dataclass(slots=True, eq=False, kw_only=True)
class Call(Place):
    """A thread that waits for a device; the future is done when it has one."""

    called: "Future[None]" = field(default_factory=Future)


P = TypeVar("P", bound=Place)


class _Turns(Generic[P]):
    """Places that wait, one queue a request; requests take turns."""

    def __init__(self) -> None:
        self._queues: OrderedDict[int, deque[P]] = OrderedDict()

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    def put(self, place: P) -> None:
        self._queues.setdefault(place.request, deque()).append(place)

    def take(self) -> P:
        request, queue = self._queues.popitem(last=False)
        place = queue.popleft()
        if queue:
            self._queues[request] = queue
        return place

    def drop(self, request: int) -> list[P]:
        return list(self._queues.pop(request, ()))


class Queue(Generic[P]):
    """Places of requests, and behind them those of jobs."""

    def __init__(self) -> None:
        self._requests: _Turns[P] = _Turns()
        self._jobs: _Turns[P] = _Turns()
        self._taken_before_jobs = 0

    def __len__(self) -> int:
        return len(self._requests) + len(self._jobs)

    def put(self, places: Sequence[P]) -> None:
        """Queue them."""
        for place in places:
            (self._jobs if place.is_background else self._requests).put(place)

    def take(self, most: int) -> list[P]:
        """Those whose turn it is."""
        return [self._next() for _ in range(min(most, len(self)))]

    def drop(self, request: int) -> list[P]:
        """All that waits of a request, which waits no more."""
        return self._requests.drop(request) + self._jobs.drop(request)

    def _next(self) -> P:
        is_jobs_turn = self._taken_before_jobs >= BACKGROUND_SHARE - 1
        if self._jobs and (is_jobs_turn or not self._requests):
            self._taken_before_jobs = 0
            return self._jobs.take()
        self._taken_before_jobs += bool(self._jobs)
        return self._requests.take()
