"""A batch of patches to a batch of logits. Letters: ``b`` batch, ``c`` channels, ``k`` classes."""

import contextlib
import ctypes
import io
import logging
import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import onnxruntime as ort
from jaxtyping import Float, Float32

from seg.cuda_driver import (
    DEVICE_VARIABLE,
    chosen_device,
    cuda_devices,
    driver_version,
    memory_limit,
)
from seg.errors import BackendError, DeviceMemoryError
from seg.inference.backends.features import OUTPUT, somebody_listens, tell
from seg.machine import cores, return_free_memory
from seg.version import installed_with

LOGGER = logging.getLogger(__name__)

GPU_BATCH_SIZE = 8
CPU = "CPUExecutionProvider"
ERROR, FATAL = 3, 4
"""Severities of onnxruntime's log."""
NO_ROOM = re.compile(
    r"out of memory|failed to allocate|alloc_?failed|bad_?\s?alloc|smaller than requested bytes",
    re.I,
)
FAILURE = re.compile(r"(?:CUDA|CUDNN|CUBLAS|CUFFT|CURAND) failure [^;\n]*")
CUDA = "CUDAExecutionProvider"


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
    ) -> None:
        """Load a model.

        Args:
            model_file: ONNX.
            provider: ``auto`` is a CUDA device where there is one that works; why one that is
                there does not is logged.
            batch_size: patches that pay off in one run; None leaves it to the provider.
            threads: runs side by side on a CPU; None takes all cores of this process.
            tf32: a CUDA device may round what convolutions take in to 10 bits.

        Raises:
            BackendError: the file is no model of a fixed patch, or a GPU was asked for in vain.
        """
        self._session = _session(model_file, provider, tf32=tf32)
        return_free_memory()
        self.provider: str = self._session.get_providers()[0]
        runs_on_gpu = self.provider != CPU
        self._most = batch_size or (GPU_BATCH_SIZE if runs_on_gpu else 1)
        self._fitting: int | None = None
        """Patches for which there is room; None as long as that was never in doubt."""
        self._lock = threading.Lock()
        self.callers = 1 if runs_on_gpu else threads or cores()
        self._input = self._session.get_inputs()[0]
        names = [output.name for output in self._session.get_outputs()]
        self._name = model_file.name
        self._outputs = [names[0], *(name for name in names[1:] if name == OUTPUT)]
        self.patch: tuple[int, ...] = tuple(self._input.shape[2:])
        if not all(isinstance(size, int) for size in self.patch):
            raise BackendError(f"the model's patch must be fixed, got {self._input.shape}")

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
        size = self._fitting or len(patches)
        if len(patches) <= size:
            try:
                return self._run(patches)
            except DeviceMemoryError as error:
                if len(patches) == 1:
                    raise
                size = self._fit(len(patches) // 2, error)
        parts = [self.run(patches[i : i + size]) for i in range(0, len(patches), size)]
        return np.concatenate(parts)

    def _run(self, patches: Float32[np.ndarray, "b c *patch"]) -> Float32[np.ndarray, "b k *patch"]:
        wanted = self._outputs if somebody_listens() else self._outputs[:1]
        logits: Float32[np.ndarray, "b k *patch"]
        try:
            logits, *features = self._session.run(wanted, {self._input.name: patches})
        except Exception as error:  # onnxruntime raises a class of its own for each status code
            kind = DeviceMemoryError if lacks_memory(error) else BackendError
            raise kind(f"the network failed on a batch of patches: {words_of(error)}") from error
        for each in features:
            tell(self._name, each)
        return logits

    def _fit(self, size: int, error: DeviceMemoryError) -> int:
        with self._lock:
            if self._fitting is None or size < self._fitting:
                self._fitting = size
                LOGGER.warning(
                    "no room for %d patches in a run of %s, %d from now on: %s",
                    2 * size, self.provider, size, error,
                )  # fmt: skip
            return self._fitting


def lacks_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, in the words of CUDA, cuDNN or onnxruntime."""
    return isinstance(error, MemoryError | DeviceMemoryError) or bool(NO_ROOM.search(str(error)))


def words_of(error: BaseException) -> str:
    """What onnxruntime says, without the C++ that it says it in."""
    failure = FAILURE.search(str(error))
    return failure[0].strip() if failure else str(error)


def _session(file: Path, provider: str, *, tf32: bool) -> ort.InferenceSession:
    on_gpu = _choose(provider)
    if not on_gpu:
        return _opened(file, [CPU])
    try:
        return _on_gpu(file, cuda_options(tf32=tf32))
    except BackendError as error:
        if provider != "auto":
            raise
        LOGGER.warning("the CPU runs the network: %s", error)
        return _opened(file, [CPU])


def _on_gpu(file: Path, cuda: Mapping[str, str]) -> ort.InferenceSession:
    if hasattr(ort, "preload_dlls"):
        with contextlib.redirect_stdout(io.StringIO()):  # what fails is told by the session
            ort.preload_dlls()
    ort.set_default_logger_severity(FATAL)  # all else is told by an error of ours
    session = _opened(file, [(CUDA, cuda), CPU])
    if session.get_providers()[0] != CUDA:
        raise BackendError(
            f"onnxruntime cannot load its CUDA provider: {_why_not_loaded()}; NVIDIA's libraries "
            f"come with {installed_with('cuda')}"
        )
    return session


def _opened(
    file: Path, providers: Sequence[str | tuple[str, Mapping[str, str]]]
) -> ort.InferenceSession:
    on_gpu = providers[0] != CPU
    options = ort.SessionOptions()
    options.log_severity_level = FATAL if on_gpu else ERROR
    if not on_gpu:
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
    try:  # by itself it would fall back to the CPU, and say so on stdout
        return ort.InferenceSession(str(file), options, providers=providers, enable_fallback=0)
    except Exception as error:  # as above
        kind = DeviceMemoryError if lacks_memory(error) else BackendError
        advice = _advice() if on_gpu else ""
        raise kind(f"onnxruntime cannot load {file.name}: {words_of(error)}{advice}") from error


def cuda_options(*, tf32: bool = False) -> dict[str, str]:
    """How onnxruntime uses a card.

    Convolutions are chosen by cuDNN's heuristic: by default each new shape is searched
    exhaustively, for seconds. Memory grows by what is needed, not to the next power of two. TF32
    keeps 10 bits of mantissa: too few for the golden samples' tolerance of float32.
    """
    limit = memory_limit()
    return {
        "device_id": str(chosen_device()),
        "use_tf32": str(int(tf32)),
        "cudnn_conv_algo_search": "HEURISTIC",
        "cudnn_conv_use_max_workspace": "1",
        "arena_extend_strategy": "kSameAsRequested",
        **({} if limit is None else {"gpu_mem_limit": str(limit)}),
    }


def _choose(provider: str) -> bool:
    """Whether a GPU runs the network."""
    offered = CUDA in ort.get_available_providers()
    count = cuda_devices() if provider != "cpu" and offered else 0
    if provider == "cuda" and count <= chosen_device():
        here = f"there are {count} CUDA devices, and {DEVICE_VARIABLE} asks for number "
        none = f"{here}{chosen_device()}" if count else "no CUDA device is here"
        raise BackendError(
            "CUDA was asked for, but "
            + (none if offered else "this onnxruntime was built without it")
            + "; choose provider cpu"
        )
    return count > chosen_device()


def _advice() -> str:
    """What a driver that is older than onnxruntime's CUDA wants; empty where it is not."""
    known, built = driver_version(), str(getattr(ort, "cuda_version", "") or "")
    if known is None or not built or known[0] >= int(built.split(".")[0]):
        return ""
    return (
        f"; NVIDIA's driver knows CUDA up to {known[0]}.{known[1]}, this onnxruntime is made for "
        f"{built}: update the driver"
    )


def _why_not_loaded() -> str:
    """What the system's loader says of the provider's library, which onnxruntime only logs."""
    try:
        ctypes.CDLL(str(Path(ort.__file__).parent / "capi" / "libonnxruntime_providers_cuda.so"))
    except OSError as error:
        return str(error)
    return "it gave no reason"
