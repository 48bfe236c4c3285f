"""Opening a network with onnxruntime, on a CUDA device or on the CPU, and what it says then."""

import contextlib
import ctypes
import io
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import onnxruntime as ort

from seg.cuda_driver import (
    DEVICE_VARIABLE,
    chosen_device,
    cuda_devices,
    driver_version,
    memory_limit,
)
from seg.device_memory import lacks_memory
from seg.errors import BackendError, DeviceMemoryError
from seg.version import installed_with

LOGGER = logging.getLogger(__name__)

CPU = "CPUExecutionProvider"
ERROR, FATAL = 3, 4
"""Severities of onnxruntime's log."""
FAILURE = re.compile(r"(?:CUDA|CUDNN|CUBLAS|CUFFT|CURAND) failure [^;\n]*")
CUDA = "CUDAExecutionProvider"


@contextlib.contextmanager
def told_as_ours() -> Iterator[None]:
    """What onnxruntime raises in the block, told as an error of ours.

    Raises:
        DeviceMemoryError: there is no room.
        BackendError: it failed otherwise.
    """
    try:
        yield
    except Exception as error:  # onnxruntime raises a class of its own for each status code
        kind = DeviceMemoryError if lacks_memory(error) else BackendError
        raise kind(f"the network failed on a batch of patches: {words_of(error)}") from error


def words_of(error: BaseException) -> str:
    """What onnxruntime says, without the C++ that it says it in."""
    failure = FAILURE.search(str(error))
    return failure[0].strip() if failure else str(error)


def open_session(file: Path, provider: str, *, tf32: bool = False) -> ort.InferenceSession:
    """A session on a CUDA device, or on the CPU.

    Args:
        file: ONNX.
        provider: ``cpu``, ``cuda``, or ``auto`` for a CUDA device where there is one that works.
        tf32: a CUDA device may round what convolutions take in.

    Raises:
        BackendError: it cannot be loaded there.
    """
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
