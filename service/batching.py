"""Patches of all requests share batches.

A device that becomes free takes the patches that wait, from any request, up to a batch; it never
waits for more to come (Triton's rule, without a delay). Requests take turns patch by patch, so a
volume of a thousand patches does not hold up an image of one. Patches of jobs fill the batches that
requests leave room in.

Letters: ``b`` patches, ``c`` channels, ``k`` classes.
"""

import itertools
import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float

from seg.inference import Backend

BACKGROUND_SHARE = 16
"""Of so many patches one is a job's where both wait, so that a busy service still ends its jobs."""

GPU_BATCH_SIZE = 8
"""Patches in a batch where batches are forced on a backend that asks for single patches."""

Patch = Float[np.ndarray, "c *patch"]
Logits = Float[np.ndarray, "k *patch"]
BatchListener = Callable[[int, int], None]
"""Called with the number of patches and of requests in a batch that is about to run."""


class RequestCancelledError(Exception):
    """The client has gone or the time is up: nobody waits for the answer."""


class SchedulerClosedError(Exception):
    """The service is shutting down."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchingPolicy:
    """How many runs at the same time, and how many patches in each.

    On CPU batches do not pay: measured on two cores, two callers of one thread segment 1.26 times
    as many images a second as batches of eight on two threads. On GPU they do.
    """

    runners: int
    batch_size: int

    @classmethod
    def of(
        cls,
        backend: Backend,
        mode: Literal["auto", "cpu", "gpu"] = "auto",
        batch_size: int | None = None,
    ) -> "BatchingPolicy":
        """The policy that fits a backend, or the one that is forced."""
        if mode == "cpu":
            return cls(runners=max(backend.callers, os.cpu_count() or 1), batch_size=1)
        if mode == "gpu":
            forced = batch_size or max(backend.batch_size, GPU_BATCH_SIZE)
            return cls(runners=1, batch_size=forced)
        return cls(runners=backend.callers, batch_size=batch_size or backend.batch_size)


@dataclass(slots=True, eq=False)
class _Ticket:
    """One patch on its way; it carries its own answer, so that answers cannot be mixed up."""

    request: int
    patch: Patch
    backend: Backend
    is_background: bool = False
    logits: "Future[Logits]" = field(default_factory=Future)


class _Turns:
    """Tickets that wait, one queue a request; requests take turns."""

    def __init__(self) -> None:
        self._queues: OrderedDict[int, deque[_Ticket]] = OrderedDict()

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    def put(self, ticket: _Ticket) -> None:
        self._queues.setdefault(ticket.request, deque()).append(ticket)

    def take(self) -> _Ticket:
        request, queue = self._queues.popitem(last=False)
        ticket = queue.popleft()
        if queue:
            self._queues[request] = queue
        return ticket

    def drop(self, request: int) -> list[_Ticket]:
        return list(self._queues.pop(request, ()))


class _Waiting:
    """Tickets of requests, and behind them those of jobs."""

    def __init__(self) -> None:
        self._requests = _Turns()
        self._jobs = _Turns()
        self._taken_before_jobs = 0

    def __len__(self) -> int:
        return len(self._requests) + len(self._jobs)

    def put(self, tickets: Sequence[_Ticket]) -> None:
        for ticket in tickets:
            (self._jobs if ticket.is_background else self._requests).put(ticket)

    def take(self, most: int) -> list[_Ticket]:
        return [self._next() for _ in range(min(most, len(self)))]

    def drop(self, request: int) -> list[_Ticket]:
        return self._requests.drop(request) + self._jobs.drop(request)

    def _next(self) -> _Ticket:
        is_jobs_turn = self._taken_before_jobs >= BACKGROUND_SHARE - 1
        if self._jobs and (is_jobs_turn or not self._requests):
            self._taken_before_jobs = 0
            return self._jobs.take()
        self._taken_before_jobs += bool(self._jobs)
        return self._requests.take()


class BatchScheduler:
    """Runs the patches of all requests on one backend.

    A batch that fails is run again patch by patch: only the request whose patch is to blame fails.
    """

    def __init__(
        self,
        backend: Backend,
        policy: BatchingPolicy,
        on_batch: BatchListener = lambda patches, requests: None,
    ) -> None:
        self.backend = backend
        self.policy = policy
        self._on_batch = on_batch
        self._turns = _Waiting()
        self._changed = threading.Condition()
        self._closed = False
        self._runners = [
            threading.Thread(target=self._serve, name=f"batches-{n}", daemon=True)
            for n in range(policy.runners)
        ]
        for runner in self._runners:
            runner.start()

    @property
    def waiting(self) -> int:
        """Patches that wait for a free device."""
        with self._changed:
            return len(self._turns)

    def submit(
        self,
        request: int,
        patches: Float[np.ndarray, "b c *patch"],
        backend: Backend | None = None,
        *,
        is_background: bool = False,
    ) -> "list[Future[Logits]]":
        """Queue the patches of a request; one future of logits for each.

        Args:
            request: whose they are.
            patches: to run.
            backend: that runs them in place of the scheduler's own, e.g. a faster variant.
            is_background: they are a job's, and wait behind those of requests.
        """
        tickets = [
            _Ticket(request, patch, backend or self.backend, is_background) for patch in patches
        ]
        with self._changed:
            if self._closed:
                raise SchedulerClosedError("the service is shutting down")
            self._turns.put(tickets)
            self._changed.notify(len(tickets))
        return [ticket.logits for ticket in tickets]

    def drop(self, request: int, reason: BaseException) -> None:
        """Give what waits of a request that reason for an answer; a patch that runs is finished."""
        with self._changed:
            dropped = self._turns.drop(request)
        for ticket in dropped:
            ticket.logits.set_exception(reason)

    def close(self) -> None:
        """Finish what waits, take no more, and end the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for runner in self._runners:
            runner.join()

    def _serve(self) -> None:
        while batch := self._next_batch():
            for backend in dict.fromkeys(ticket.backend for ticket in batch):
                self._run([ticket for ticket in batch if ticket.backend is backend])

    def _next_batch(self) -> list[_Ticket]:
        """Tickets to run now; empty when the scheduler is closed and nothing waits."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._turns) > 0)
            return self._turns.take(_power_of_two(len(self._turns), self.policy.batch_size))

    def _run(self, batch: list[_Ticket]) -> None:
        self._on_batch(len(batch), len({ticket.request for ticket in batch}))
        try:
            logits = batch[0].backend.run(np.stack([ticket.patch for ticket in batch]))
            if len(logits) != len(batch):
                raise RuntimeError(f"{len(batch)} patches gave {len(logits)} answers")
        except Exception as error:  # whatever a backend raises belongs to the request that waits
            if len(batch) == 1:
                batch[0].logits.set_exception(error)
                return
            for ticket in batch:
                self._run([ticket])
            return
        for ticket, answer in zip(batch, logits, strict=True):
            ticket.logits.set_result(answer)


class SharedBackend:
    """The backend that one request sees: its patches run in batches with those of others.

    ``batch_size`` and ``callers`` tell the predictor how many patches to hand over at a time:
    enough for one request alone to keep the device busy.
    """

    def __init__(self, scheduler: BatchScheduler, *, background: bool = False) -> None:
        """Take a turn; behind all requests where it is for a job."""
        self._scheduler = scheduler
        self._is_background = background
        self._request = next(_REQUESTS)
        self._cancelled = threading.Event()
        self._backend = scheduler.backend
        self.patches = 0
        """Run so far."""
        self.patch = scheduler.backend.patch
        self.provider = scheduler.backend.provider
        self.batch_size = scheduler.policy.batch_size
        self.callers = scheduler.policy.runners + 1  # the next patches wait when a device is free

    def run(self, patches: Float[np.ndarray, "b c *patch"]) -> Float[np.ndarray, "b k *patch"]:
        """Logits of each patch, in the order of the patches.

        Raises:
            RequestCancelledError: `cancel` was called, before or while the patches wait.
            SchedulerClosedError: the service is shutting down.
        """
        self.raise_if_cancelled()
        self.patches += len(patches)
        futures = self._scheduler.submit(
            self._request, patches, self._backend, is_background=self._is_background
        )
        if self._cancelled.is_set():  # it may have come between the check and the queue
            self.cancel()
        try:
            return np.stack([future.result() for future in futures])
        except BaseException as error:  # one patch failed: the others are of no use
            self._scheduler.drop(self._request, error)
            raise

    def runs_on(self, backend: Backend) -> None:
        """Run all patches on that backend, on the devices of the scheduler; before the first."""
        self._backend = backend

    def cancel(self) -> None:
        """Stop at the next patch."""
        self._cancelled.set()
        self._scheduler.drop(self._request, RequestCancelledError())

    def raise_if_cancelled(self) -> None:
        """For the steps between patches.

        Raises:
            RequestCancelledError: `cancel` was called.
        """
        if self._cancelled.is_set():
            raise RequestCancelledError


_REQUESTS = itertools.count()


def _power_of_two(waiting: int, most: int) -> int:
    """Number of patches to run now.

    GPU libraries tune themselves when they first meet a batch size, and powers of two are few
    enough to be met before the first request.
    """
    fitting = min(waiting, most)
    return 1 << (fitting.bit_length() - 1) if fitting else 0


def batch_sizes(policy: BatchingPolicy) -> list[int]:
    """The batch sizes that a scheduler uses."""
    return [1 << n for n in range(policy.batch_size.bit_length())]
