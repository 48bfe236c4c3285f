"""Whether the device that runs a model still computes.

A device that dies fails every run, while the process that has it looks alive. Errors in a row are
a suspicion only, since images may be to blame: the device is asked for a golden sample, of which
the answer is known. A wrong answer, none, or one that does not come makes the model unready, and so
does a run that goes on for longer than a request may; a device that stays so is dead, and a new
process has to take it.

Letters: ``b`` patches, ``c`` channels, ``k`` classes.
"""

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

import numpy as np
from jaxtyping import Float, Float32, UInt8

from seg.inference import Backend
from seg.inference.backends.deciding import Decided
from seg.inference.backends.memory import shrink
from seg.inference.backends.onnx import takes_labels
from seg.inference.backends.ways import way_of
from service.observability.folders import without_folders
from service.observability.logs import LOGGER
from service.observability.patch_times import RunsUnderWay

ERRORS_IN_A_ROW = 3
"""After which the device is asked for a golden sample."""
WRONG_ANSWERS = 3
"""After which it is dead."""
PAUSE_S = 5.0
"""Between two of them."""
LONGEST_ANSWER_S = 60.0
"""After which an answer counts as none."""


class DeviceHealth:
    """Counts the errors of a device, and asks it what it still knows."""

    def __init__(
        self,
        prove: Callable[[], object],
        pause_s: float = PAUSE_S,
        clock: Callable[[], float] = monotonic,
        longest_run_s: float = math.inf,
    ) -> None:
        """Watch.

        Args:
            prove: runs a golden sample; raises where the answer is wrong.
            pause_s: between two of them, while they fail.
            clock: in seconds.
            longest_run_s: after which nobody waits for a run any more.
        """
        self._prove = prove
        self._pause_s = pause_s
        self._clock = clock
        self._lock = threading.Lock()
        self._errors = self._wrong = 0
        self._reason: str | None = None
        self.longest_run_s = longest_run_s
        self._runs = RunsUnderWay(clock)
        self.running = self._runs.running
        self._asked_at: float | None = None
        self._asks = False
        self._closing = threading.Event()

    @property
    def reason(self) -> str | None:
        """Why the model is not ready; None where it is."""
        with self._lock:
            waited = None if self._asked_at is None else self._clock() - self._asked_at
        if waited is not None and waited > LONGEST_ANSWER_S:
            return f"the device has not answered a golden sample for {waited:.0f} s"
        if (runs_for := self._runs.longest_s) > self.longest_run_s:
            return f"a run of the network has not ended for {runs_for:.0f} s"
        return self._reason

    @property
    def is_dead(self) -> bool:
        """Whether only a new process can help."""
        with self._lock:
            waited = 0.0 if self._asked_at is None else self._clock() - self._asked_at
        hopeless_s = WRONG_ANSWERS * LONGEST_ANSWER_S
        return (
            self._wrong >= WRONG_ANSWERS
            or waited > hopeless_s
            or self._runs.longest_s > self.longest_run_s + hopeless_s
        )

    def worked(self) -> None:
        """A run gave an answer."""
        self._errors = 0

    def failed(self, error: BaseException) -> None:
        """A run gave none."""
        with self._lock:
            self._errors += 1
            is_one_of_few = self._errors < ERRORS_IN_A_ROW
        if not is_one_of_few:
            self._suspect(error)

    def works(self) -> bool:
        """Ask for a golden sample now: whether an image is to blame for an error, or the device."""
        if self.reason is not None:
            return False
        try:
            self._prove()
        except Exception as error:  # whatever a device that is ill says
            self._suspect(error)
            return False
        return True

    def _suspect(self, error: BaseException) -> None:
        with self._lock:
            if self._asks:
                return
            self._asks = True
        fields = {"errors": self._errors, "reason": str(error)}
        LOGGER.warning("device suspected", extra={"fields": fields})
        threading.Thread(target=self._ask, name="golden-sample", daemon=True).start()

    def close(self) -> None:
        """Ask no more."""
        self._closing.set()

    def _ask(self) -> None:
        while not self._closing.is_set():
            self._asked_at = self._clock()
            try:
                self._prove()
            except Exception as error:  # whatever a device that is ill says
                said = without_folders(str(error))
                self._answered(f"the device fails on a golden sample: {said}")
                self._closing.wait(self._pause_s)
            else:
                self._answered(None)
                return

    def _answered(self, reason: str | None) -> None:
        with self._lock:
            was = self._reason
            self._asked_at, self._reason = None, reason
            self._wrong = self._wrong + 1 if reason else 0
            if reason is None:
                self._errors, self._asks = 0, False
        if reason != was:
            event = "device failed" if reason else "device works"
            LOGGER.log(40 if reason else 20, event, extra={"fields": {"reason": reason}})


class WatchedBackend:
    """A backend whose errors are counted."""

    def __init__(self, backend: Backend, health: DeviceHealth) -> None:
        self._backend = backend
        self._health = health
        self.patch = backend.patch
        self.provider = backend.provider
        self.way = way_of(backend)
        self.callers = backend.callers

    @property
    def batch_size(self) -> int:
        """Patches that pay off in one run."""
        return self._backend.batch_size

    def run(self, patches: Float[np.ndarray, "b c *patch"]) -> Float[np.ndarray, "b k *patch"]:
        """Logits of each patch.

        Raises:
            BackendError: the network failed.
        """
        with self._counted():
            return self._backend.run(patches)

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
        """What the network says of each patch, as ``DecidingBackend`` has it.

        Raises:
            BackendError: the network failed.
        """
        assert takes_labels(self._backend)
        with self._counted():
            return self._backend.decide(patches, inside, temperature)

    def shrink(self) -> None:
        """Give back the memory that is kept for the next run."""
        with self._counted():
            shrink(self._backend)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        try:
            with self._health.running():
                yield
        except Exception as error:
            self._health.failed(error)
            raise
        self._health.worked()
