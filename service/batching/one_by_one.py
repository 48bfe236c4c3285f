"""Single patches run in the thread that brings them, when a device is free.

Threads of the devices' own would cost two hand-overs a patch, and would leave its logits in the
cache of another core than the one that goes on with them.

Letters: ``b`` patches, ``c`` channels, ``k`` classes.
"""

import threading
from collections.abc import Callable
from time import perf_counter

import numpy as np
from jaxtyping import Float

from seg.inference import Backend
from service.batching.queue import Call, PatchCaller, Queue
from service.batching.scheduler import CLOSE_S, BatchingPolicy, BatchListener, Scheduler
from service.errors import SchedulerClosedError


class InPlaceScheduler(Scheduler):
    """Lends the devices of one backend to threads, one patch at a time; requests take turns."""

    def __init__(
        self,
        backend: Backend,
        policy: BatchingPolicy,
        on_batch: BatchListener = lambda patches, requests: None,
    ) -> None:
        super().__init__(backend, policy, on_batch)
        self._calls: Queue[Call] = Queue()
        self._free = policy.runners
        self._lock = threading.Lock()
        self._all_free = threading.Condition(self._lock)

    @property
    def waiting(self) -> int:
        """Patches that wait for a free device."""
        with self._lock:
            return len(self._calls)

    def run(
        self,
        caller: PatchCaller,
        patches: Float[np.ndarray, "b c *patch"],
        backend: Backend | None = None,
    ) -> Float[np.ndarray, "b k *patch"]:
        """Logits of the patches of a caller, one after the other."""
        outputs = []
        for patch in np.split(patches, len(patches)):
            self._take_device(
                Call(request=caller.id, is_background=caller.is_background), caller.check
            )
            try:
                self._on_batch(1, 1)
                began = perf_counter()
                with caller.running():
                    logits = (backend or self.backend).run(patch)
                caller.on_run(began, perf_counter())
            except BaseException as error:  # before others of the request get the device
                self.drop(caller.id, error)
                raise
            finally:
                self._give_back()
            if len(logits) != 1:
                raise RuntimeError(f"1 patches gave {len(logits)} answers")
            outputs.append(logits)
        return outputs[0] if len(outputs) == 1 else np.concatenate(outputs)

    def drop(self, request: int, reason: BaseException) -> None:
        """Give what waits of a request that reason for an answer; a patch that runs is finished."""
        with self._lock:
            dropped = self._calls.drop(request)
        for call in dropped:
            call.called.set_exception(reason)

    def close(self) -> None:
        """Finish what waits, within ``CLOSE_S``, and take no more."""
        with self._all_free:
            self._closed = True
            self._all_free.wait_for(lambda: self._free == self.policy.runners, CLOSE_S)

    def _take_device(self, call: Call, check: Callable[[], None]) -> None:
        with self._lock:
            check()
            if self._closed:
                raise SchedulerClosedError("the service is shutting down")
            if self._free:  # then nothing waits
                self._free -= 1
                return
            self._calls.put([call])
        call.called.result()

    def _give_back(self) -> None:
        with self._all_free:
            called = self._calls.take(1)
            if not called:
                self._free += 1
                self._all_free.notify_all()
        for call in called:
            call.called.set_result(None)
