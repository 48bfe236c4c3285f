"""A batch of patches to a batch of logits. Letters: ``b`` batch, ``c`` channels, ``k`` classes."""

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Protocol, TypeGuard, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, UInt8

from seg.errors import BackendError, DeviceMemoryError
from seg.inference.backends.bound import BoundSession, sizes_of
from seg.inference.backends.deciding import HEAD, Decided
from seg.inference.backends.features import OUTPUT, somebody_listens, tell
from seg.inference.backends.sessions import CPU, open_session, told_as_ours
from seg.inference.backends.ways import Way
from seg.machine import cores, return_free_memory

LOGGER = logging.getLogger(__name__)

GPU_BATCH_SIZE = 8
Answer = TypeVar("Answer")
"""Of a run: logits of all of its patches, or what was decided of each."""


@runtime_checkable
class Backend(Protocol):
    """What runs the network. ``run`` may be called from several threads."""

    @property
    def patch(self) -> tuple[int, ...]:
        """Spatial size of a patch in voxels."""
        ...

    @property
    def provider(self) -> str:
        """What computes, e.g. ``CUDAExecutionProvider``."""
        ...

    @property
    def batch_size(self) -> int:
        """Patches that pay off in one run."""
        ...

    @property
    def callers(self) -> int:
        """Runs that pay off at the same time."""
        ...

    def run(self, patches: Float[np.ndarray, "b c *patch"]) -> Float[np.ndarray, "b k *patch"]:
        """Logits of each patch."""
        ...


class DecidingBackend(Backend, Protocol):
    """A backend that can keep logits where they are computed."""

    @property
    def decides(self) -> bool:
        """Whether that pays off here."""
        ...

    def decide(
        self,
        patches: Float32[np.ndarray, "b c *patch"],
        inside: UInt8[np.ndarray, "b 1 *patch"],
        temperature: float,
    ) -> list[Decided]:
        """What the network says of each patch.

        Args:
            patches: as of ``run``.
            inside: 1 where a voxel counts in ``Decided.mass``, else 0.
            temperature: of the calibrated probabilities.
        """
        ...


def takes_labels(backend: Backend) -> TypeGuard[DecidingBackend]:
    """Whether labels are taken where the network runs.

    An attribute, not ``isinstance``: of a protocol that costs 25 microseconds, at every request.
    """
    return bool(getattr(backend, "decides", False))


class OnnxBackend:
    """onnxruntime, on a CUDA device where there is one, else on the CPU.

    On a CPU a run gets one thread and one patch, and as many runs as there are cores go side by
    side: measured to be faster than batches and than several threads a run.

    A batch for which the device has no room is halved, and later ones are kept that small.
    """

    def __init__(
        self,
        model_file: Path,
        *,
        provider: Literal["auto", "cpu", "cuda"] = "auto",
        batch_size: int | None = None,
        threads: int | None = None,
        tf32: bool = False,
        decides: bool | None = None,
    ) -> None:
        """Load a model.

        Args:
            model_file: ONNX.
            provider: ``auto`` is a CUDA device where there is one that works; why one that is
                there does not is logged.
            batch_size: patches that pay off in one run; None leaves it to the provider.
            threads: runs side by side on a CPU; None takes all cores of this process.
            tf32: a CUDA device may round what convolutions take in to 10 bits.
            decides: labels may be taken where the network runs; None does that on a card.

        Raises:
            BackendError: the file is no model of a fixed patch, or a GPU was asked for in vain.
        """
        session = open_session(model_file, provider, tf32=tf32)
        return_free_memory()
        self.provider: str = session.get_providers()[0]
        runs_on_gpu = self.provider != CPU
        rounds = runs_on_gpu and tf32
        self.way = Way("cuda" if runs_on_gpu else "cpu", "tf32" if rounds else "float32")
        self._most = batch_size or (GPU_BATCH_SIZE if runs_on_gpu else 1)
        self._fitting: int | None = None
        """Patches for which there is room; None as long as that was never in doubt."""
        self._lock = threading.Lock()
        self.callers = 1 if runs_on_gpu else threads or cores()
        self._session = BoundSession(session, on_card=runs_on_gpu, callers=self.callers)
        self._input = session.get_inputs()[0]
        self._logits, *others = session.get_outputs()
        self._name = model_file.name
        self._features = [output.name for output in others if output.name == OUTPUT]
        self.patch: tuple[int, ...] = tuple(self._input.shape[2:])
        if not all(isinstance(size, int) for size in self.patch):
            raise BackendError(f"the model's patch must be fixed, got {self._input.shape}")
        self.decides: bool = runs_on_gpu if decides is None else decides
        if self._logits.type != "tensor(float)":
            self.decides = False
        self._head: BoundSession | None = None

    @property
    def batch_size(self) -> int:
        """Patches that pay off in one run; fewer after the device ran out of memory."""
        return self._most if self._fitting is None else min(self._most, self._fitting)

    def run(self, patches: Float32[np.ndarray, "b c *patch"]) -> Float32[np.ndarray, "b k *patch"]:
        """Logits of each patch.

        Raises:
            DeviceMemoryError: there is no room for a single patch.
            BackendError: onnxruntime failed otherwise.
        """
        parts = self._in_parts(len(patches), lambda part: [self._run(patches[part])])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def decide(
        self,
        patches: Float32[np.ndarray, "b c *patch"],
        inside: UInt8[np.ndarray, "b 1 *patch"],
        temperature: float,
    ) -> list[Decided]:
        """What the network says of each patch, its logits left where it runs.

        Args:
            patches: as of ``run``.
            inside: 1 where a voxel counts in ``Decided.mass``, else 0.
            temperature: of the calibrated probabilities.

        Raises:
            DeviceMemoryError: there is no room for a single patch.
            BackendError: onnxruntime failed otherwise.
        """
        with self._lock:
            if self._head is None:
                on_card = self.provider != CPU
                head = open_session(HEAD, "cuda" if on_card else "cpu")
                self._head = BoundSession(head, on_card=on_card, callers=self.callers)
        return self._in_parts(
            len(patches), lambda part: self._decide(patches[part], inside[part], temperature)
        )

    def shrink(self) -> None:
        """Give back the memory that is kept for the next run; that run asks for it again."""
        patch = np.zeros((1, *self._input.shape[1:]), np.float32)
        with told_as_ours():
            self._session.run({self._input.name: patch}, self._wanted(1, []), shrink=True)
        for session in (self._session, self._head):
            if session:
                session.buffers.clear()
        return_free_memory()

    @property
    def bytes_back(self) -> int:
        """That came to the host from where the network runs, in all runs."""
        return self._session.bytes_back + (self._head.bytes_back if self._head else 0)

    def _in_parts(self, count: int, work: Callable[[slice], list[Answer]]) -> list[Answer]:
        """Answers of so many patches, as many in a run as there is room for."""
        found: list[Answer] = []
        done = 0
        while done < count:
            size = min(self._fitting or count, count - done)
            try:
                found += work(slice(done, done + size))
            except DeviceMemoryError as error:
                if size == 1:
                    raise
                self._fit(size // 2, error)
                continue
            done += size
        return found

    def _run(self, patches: Float32[np.ndarray, "b c *patch"]) -> Float32[np.ndarray, "b k *patch"]:
        names = self._features if somebody_listens() else []
        with told_as_ours():
            wanted = self._wanted(len(patches), names)
            logits, *features = self._session.run({self._input.name: patches}, wanted)
        for each in features:
            tell(self._name, each)
        return logits

    def _decide(
        self,
        patches: Float32[np.ndarray, "b c *patch"],
        inside: UInt8[np.ndarray, "b 1 *patch"],
        temperature: float,
    ) -> list[Decided]:
        names = [self._logits.name, *(self._features if somebody_listens() else [])]
        count, shape = len(patches), (len(patches), *self.patch)
        assert self._head is not None
        with told_as_ours():
            logits, *features = self._session.run_there({self._input.name: patches}, names)
            feeds = {
                "logits": logits,
                "temperature": np.array([temperature], np.float32),
                "inside": inside,
            }
            wanted = {"labels": shape, "likeliest": shape, "entropy": shape}
            mass = (count, logits.shape()[1])
            found = self._head.run(feeds, {**wanted, "mass": mass})
        for each in features:
            tell(self._name, each.numpy())
        return [Decided(*each) for each in zip(*found, strict=True)]

    def _wanted(self, count: int, others: Sequence[str]) -> dict[str, tuple[int, ...] | None]:
        return {self._logits.name: sizes_of(self._logits, count), **dict.fromkeys(others)}

    def _fit(self, size: int, error: DeviceMemoryError) -> int:
        with self._lock:
            if self._fitting is None or size < self._fitting:
                self._fitting = size
                LOGGER.warning(
                    "no room for %d patches in a run of %s, %d from now on: %s",
                    2 * size, self.provider, size, error,
                )  # fmt: skip
            return self._fitting
