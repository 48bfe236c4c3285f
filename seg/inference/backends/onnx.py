"""A batch of patches to a batch of logits. Letters: ``b`` batch, ``c`` channels, ``k`` classes."""

import contextlib
import io
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import onnxruntime as ort
from jaxtyping import Float, Float32

from seg.errors import BackendError
from seg.machine import cache_folder, cores, cuda_devices, return_free_memory

GPU_BATCH_SIZE = 8


WANTED = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}


MISSING = {
    "cuda": "onnxruntime found the CUDA device but not its libraries; install seg[cuda]",
    "tensorrt": "onnxruntime found no TensorRT that it can use; install tensorrt, or choose "
    "provider cuda",
}


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
    """

    def __init__(
        self,
        model_file: Path,
        *,
        provider: Literal["auto", "cpu", "cuda", "tensorrt"] = "auto",
        batch_size: int | None = None,
        threads: int | None = None,
    ) -> None:
        """Load a model.

        Args:
            model_file: ONNX.
            provider: ``auto`` is a CUDA device where there is one.
            batch_size: patches that pay off in one run; None leaves it to the provider.
            threads: runs side by side on a CPU; None takes all cores of this process.

        Raises:
            BackendError: the file is no model of a fixed patch, or a GPU was asked for in vain.
        """
        on_gpu = _choose(provider)
        try:
            self._session = ort.InferenceSession(
                str(model_file),
                _options(on_gpu),
                providers=_providers(on_gpu, with_tensorrt=provider == "tensorrt"),
            )
        except Exception as error:  # onnxruntime raises a class of its own for each status code
            raise BackendError(f"onnxruntime cannot load {model_file.name}: {error}") from error
        return_free_memory()
        self.provider: str = self._session.get_providers()[0]
        if provider in WANTED and self.provider != WANTED[provider]:
            raise BackendError(MISSING[provider])
        runs_on_gpu = self.provider != "CPUExecutionProvider"
        self.batch_size = batch_size or (GPU_BATCH_SIZE if runs_on_gpu else 1)
        self.callers = 1 if runs_on_gpu else threads or cores()
        self._input = self._session.get_inputs()[0]
        self.patch: tuple[int, ...] = tuple(self._input.shape[2:])
        if not all(isinstance(size, int) for size in self.patch):
            raise BackendError(f"the model's patch must be fixed, got {self._input.shape}")

    def run(self, patches: Float32[np.ndarray, "b c *patch"]) -> Float32[np.ndarray, "b k *patch"]:
        """Logits of each patch.

        Raises:
            BackendError: onnxruntime failed, for instance for lack of memory.
        """
        try:
            logits: Float32[np.ndarray, "b k *patch"] = self._session.run(
                None, {self._input.name: patches}
            )[0]
        except Exception as error:  # as above
            raise BackendError(f"the network failed on a batch of patches: {error}") from error
        return logits


def _choose(provider: str) -> bool:
    """Whether a GPU runs the network; its libraries are loaded."""
    offered = WANTED.get(provider, WANTED["cuda"]) in ort.get_available_providers()
    found = provider != "cpu" and offered and cuda_devices() > 0
    if provider in WANTED and not found:
        name = {"cuda": "CUDA", "tensorrt": "TensorRT"}[provider]
        raise BackendError(
            f"{name} was asked for, but "
            + ("no CUDA device is here" if offered else "this onnxruntime was built without it")
            + "; choose provider cpu"
        )
    if found and hasattr(ort, "preload_dlls"):
        with contextlib.redirect_stdout(io.StringIO()):  # what fails is told by the session
            ort.preload_dlls()
    return found


def _options(on_gpu: bool) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if not on_gpu:
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
    return options


def _providers(on_gpu: bool, with_tensorrt: bool) -> list[str | tuple[str, dict[str, str]]]:
    if not on_gpu:
        return ["CPUExecutionProvider"]
    # TF32 keeps 10 bits of mantissa: too few for the golden samples' tolerance
    found: list[str | tuple[str, dict[str, str]]] = [
        (WANTED["cuda"], {"use_tf32": "0"}),
        "CPUExecutionProvider",
    ]
    if with_tensorrt:
        engines = cache_folder() / "tensorrt"
        options = {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(engines)}
        found.insert(0, (WANTED["tensorrt"], options))
    return found
