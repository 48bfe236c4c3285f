"""Patches of all requests share batches.

A device that becomes free takes the patches that wait, from any request, up to a batch; it waits
for more to come only for a small share of a run's time, where batches pay. Requests take turns
patch by patch, so a volume of a thousand patches does not hold up an image of one. Patches of jobs
fill the batches that requests leave room in.

Letters: ``b`` patches, ``c`` channels, ``k`` classes.
"""

import threading
from concurrent.futures import Future
from contextlib import ExitStack
from time import monotonic, perf_counter

import numpy as np
from jaxtyping import Float

from seg.device_memory import lacks_memory
from seg.inference import Backend
from seg.inference.backends.features import Heard, listening, tell
from service.batching.queue import Logits, PatchCaller, Queue, Ticket
from service.batching.scheduler import CLOSE_S, BatchingPolicy, BatchListener, Scheduler
from service.errors import SchedulerClosedError
from service.observability.logs import LOGGER


class BatchScheduler(Scheduler):
    """Runs the patches of all requests on one backend, in batches.

    A batch that fails is run again patch by patch: only the request whose patch is to blame fails.
    One for which the device has no room is halved, and later ones are kept that small.
    """

    def __init__(
        self,
        backend: Backend,
        policy: BatchingPolicy,
        on_batch: BatchListener = lambda patches, requests: None,
    ) -> None:
        super().__init__(backend, policy, on_batch)
        self._turns: Queue[Ticket] = Queue()
        self._changed = threading.Condition()
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
        caller: PatchCaller,
        patches: Float[np.ndarray, "b c *patch"],
        backend: Backend | None = None,
    ) -> "list[Future[Logits]]":
        """Queue the patches of a caller, as ``run`` has them; one future of logits for each."""
        return [ticket.logits for ticket in self._queued(caller, patches, backend)]

    def _queued(
        self,
        caller: PatchCaller,
        patches: Float[np.ndarray, "b c *patch"],
        backend: Backend | None,
    ) -> list[Ticket]:
        tickets = [
            Ticket(
                request=caller.id,
                is_background=caller.is_background,
                patch=patch,
                backend=backend or self.backend,
                on_run=caller.on_run,
                running=caller.running,
            )
            for patch in patches
        ]
        with self._changed:
            if self._closed:
                raise SchedulerClosedError("the service is shutting down")
            self._turns.put(tickets)
            self._changed.notify(len(tickets))
        return tickets

    def run(
        self,
        caller: PatchCaller,
        patches: Float[np.ndarray, "b c *patch"],
        backend: Backend | None = None,
    ) -> Float[np.ndarray, "b k *patch"]:
        """As `submit`, and wait for the logits."""
        tickets = self._queued(caller, patches, backend)
        caller.check()
        logits = np.stack([ticket.logits.result() for ticket in tickets])
        for ticket in tickets:  # they ran in another thread than that which listens
            for heard in ticket.heard:
                tell(*heard)
        return logits

    def drop(self, request: int, reason: BaseException) -> None:
        """Give what waits of a request that reason for an answer; a patch that runs is finished."""
        with self._changed:
            dropped = self._turns.drop(request)
        for ticket in dropped:
            ticket.logits.set_exception(reason)

    def close(self) -> None:
        """Finish what waits, within ``CLOSE_S``, take no more, and end the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        until = monotonic() + CLOSE_S
        for runner in self._runners:
            runner.join(max(0.0, until - monotonic()))

    def _serve(self) -> None:
        while batch := self._next_batch():
            for backend in dict.fromkeys(ticket.backend for ticket in batch):
                self._run([ticket for ticket in batch if ticket.backend is backend])

    def _next_batch(self) -> list[Ticket]:
        """Tickets to run now; empty when the scheduler is closed and nothing waits."""
        with self._changed:
            self._until_waiting(1)
            while self.policy.wait_s and not self._closed:
                self._until_waiting(self.batch_size, self.policy.wait_s)
                if self._turns:
                    break
                self._until_waiting(1)  # another device took them while this one waited
            return self._turns.take(_power_of_two(len(self._turns), self.batch_size))

    def _until_waiting(self, patches: int, most_s: float | None = None) -> None:
        self._changed.wait_for(lambda: self._closed or len(self._turns) >= patches, most_s)

    def _run(self, batch: list[Ticket]) -> None:
        self._on_batch(len(batch), len({ticket.request for ticket in batch}))
        began = perf_counter()
        try:
            with listening() as heard, ExitStack() as runs:
                for ticket in batch:
                    runs.enter_context(ticket.running())
                logits = batch[0].backend.run(np.stack([ticket.patch for ticket in batch]))
            if len(logits) != len(batch):
                raise RuntimeError(f"{len(batch)} patches gave {len(logits)} answers")
        except Exception as error:  # whatever a backend raises belongs to the request that waits
            if len(batch) == 1:
                batch[0].logits.set_exception(error)
                return
            for part in self._parts(batch, error):
                self._run(part)
            return
        ended = perf_counter()
        for network in dict.fromkeys(each.network for each in heard):
            rows = np.concatenate([each.features for each in heard if each.network == network])
            if len(rows) == len(batch):  # of a mirrored backend there are more
                for ticket, row in zip(batch, rows, strict=True):
                    ticket.heard.append(Heard(network, row[None]))
        for ticket, answer in zip(batch, logits, strict=True):
            ticket.on_run(began, ended)
            ticket.logits.set_result(answer)

    def _parts(self, batch: list[Ticket], error: Exception) -> list[list[Ticket]]:
        """Each patch alone, to find the one that is to blame; two halves where memory ran out."""
        if not lacks_memory(error):
            return [[ticket] for ticket in batch]
        half = len(batch) // 2
        with self._changed:
            is_news = half < self.batch_size
            self.batch_size = min(self.batch_size, half)
        if is_news:
            fields = {"patches": len(batch), "from_now_on": half, "reason": str(error)}
            LOGGER.warning("no room for a batch", extra={"fields": fields})
        return [batch[:half], batch[half:]]


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
