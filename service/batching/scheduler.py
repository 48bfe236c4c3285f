"""What runs the patches of all requests on one backend.

Letters: ``b`` patches, ``c`` channels, ``k`` classes.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from seg.inference import Backend
from seg.inference.backends.onnx import DecidingBackend
from seg.machine import cores
from service.batching.decider import Decider
from service.batching.queue import PatchCaller

GPU_BATCH_SIZE = 8
"""Patches in a batch where batches are forced on a backend that asks for single patches."""


CLOSE_S = 60.0
"""Seconds in which what runs and waits is finished; a run that hangs holds up nothing else."""


BatchListener = Callable[[int, int], None]
"""Called with the number of patches and of requests in a batch that is about to run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchingPolicy:
    """How many runs at the same time, and how many patches in each.

    On CPU batches do not pay: measured on two cores, two callers of one thread segment 1.26 times
    as many images a second as batches of eight on two threads. On GPU they do.
    """

    runners: int
    batch_size: int
    wait_s: float = 0.0
    """Seconds that a free device waits for its batch to fill."""

    @classmethod
    def of(
        cls,
        backend: Backend,
        mode: Literal["auto", "cpu", "gpu"] = "auto",
        batch_size: int | None = None,
    ) -> "BatchingPolicy":
        """The policy that fits a backend, or the one that is forced."""
        if mode == "cpu":
            return cls(runners=max(backend.callers, cores()), batch_size=1)
        if mode == "gpu":
            forced = batch_size or max(backend.batch_size, GPU_BATCH_SIZE)
            return cls(runners=1, batch_size=forced)
        return cls(runners=backend.callers, batch_size=batch_size or backend.batch_size)


class Scheduler(ABC):
    """Runs the patches of all requests on one backend."""

    def __init__(
        self,
        backend: Backend,
        policy: BatchingPolicy,
        on_batch: BatchListener = lambda patches, requests: None,
    ) -> None:
        self.backend = backend
        self.policy = policy
        self.batch_size = policy.batch_size
        """Patches in a run; fewer than the policy says after a device had no room for them."""
        self._on_batch = on_batch
        self._closed = False
        self._deciders: dict[tuple[DecidingBackend, float], Decider] = {}

    def decider(self, backend: DecidingBackend, temperature: float) -> Decider:
        """The same for all requests of a network, so that they share batches."""
        return self._deciders.setdefault((backend, temperature), Decider(backend, temperature))

    @property
    @abstractmethod
    def waiting(self) -> int:
        """Patches that wait for a free device."""

    @abstractmethod
    def run(
        self,
        caller: PatchCaller,
        patches: Float[np.ndarray, "b c *patch"],
        backend: Backend | None = None,
    ) -> Float[np.ndarray, "b k *patch"]:
        """Logits of the patches of a caller; the thread waits for them.

        Args:
            caller: whose they are.
            patches: to run.
            backend: that runs them in place of the scheduler's own, e.g. a faster variant.

        Raises:
            SchedulerClosedError: the service is shutting down.
        """

    @abstractmethod
    def drop(self, request: int, reason: BaseException) -> None:
        """Give what waits of a request that reason for an answer; a patch that runs is finished."""

    @abstractmethod
    def close(self) -> None:
        """Finish what waits, within ``CLOSE_S``, and take no more."""
