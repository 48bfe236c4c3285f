"""The backend that one request sees.

Letters: ``b`` patches, ``c`` channels, ``k`` classes.
"""

import itertools
import threading
from time import perf_counter

import numpy as np
from jaxtyping import Float, Float32, Shaped, UInt8

from seg.inference import Backend
from seg.inference.backends.deciding import Decided
from seg.inference.backends.onnx import takes_labels
from seg.inference.backends.ways import Way, way_of
from service.batching.queue import PatchCaller
from service.batching.scheduler import Scheduler
from service.errors import RequestCancelledError
from service.observability.patch_times import Occupancy, RunsUnderWay

_REQUESTS = itertools.count()


class SharedBackend:
    """The backend that one request sees: its patches run in batches with those of others.

    ``batch_size`` and ``callers`` tell the predictor how many patches to hand over at a time:
    enough for one request alone to keep the device busy.
    """

    def __init__(self, scheduler: Scheduler, *, background: bool = False) -> None:
        """Take a turn; behind all requests where it is for a job."""
        self._scheduler = scheduler
        self.is_background = background
        """It is for a job, and gives way to requests."""
        self._request = next(_REQUESTS)
        self._cancelled = threading.Event()
        self._backend = scheduler.backend
        self.patches = 0
        """Run so far."""
        self.occupancy = Occupancy()
        """When patches waited and when they ran."""
        self.runs = RunsUnderWay()
        """Of its patches, alone or with those of others."""
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
        return self._shared(patches, self._backend)

    @property
    def decides(self) -> bool:
        """Whether labels are taken where the network runs."""
        return takes_labels(self._backend)

    def decide(
        self,
        patches: Float32[np.ndarray, "b c *patch"],
        inside: UInt8[np.ndarray, "b 1 *patch"],
        temperature: float,
    ) -> list[Decided]:
        """What the network says of each patch, in batches with those of others.

        Raises:
            RequestCancelledError: as ``run``.
            SchedulerClosedError: as ``run``.
        """
        assert takes_labels(self._backend)
        decider = self._scheduler.decider(self._backend, temperature)
        return list(self._shared(decider.packed(patches, inside), decider))

    def _shared(
        self, patches: Float[np.ndarray, "b c *patch"], backend: Backend
    ) -> Shaped[np.ndarray, "b *answer"]:
        self.raise_if_cancelled()
        self.patches += len(patches)
        submitted = perf_counter()
        try:
            caller = PatchCaller(
                id=self._request,
                is_background=self.is_background,
                on_run=lambda began, ended: self.occupancy.add(submitted, began, ended),
                running=self.runs.running,
                check=self.raise_if_cancelled,
            )
            return self._scheduler.run(caller, patches, backend)
        except BaseException as error:  # one patch failed: the others are of no use
            self._scheduler.drop(self._request, error)
            raise

    @property
    def way(self) -> Way:
        """How the network runs."""
        return way_of(self._backend)

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
