"""OpenVINO, which runs 3D networks faster than onnxruntime on many CPUs.

Letters: ``b`` batch, ``c`` channels, ``k`` classes.
"""

from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from jaxtyping import Float32

from seg.errors import BackendError
from seg.inference.backends.bound import KEPT
from seg.inference.backends.buffers import Buffers
from seg.inference.backends.features import OUTPUT, somebody_listens, tell
from seg.inference.backends.openvino_core import openvino_core
from seg.inference.backends.ways import Way
from seg.machine import cores
from seg.version import installed_with


class OpenVinoBackend:
    """OpenVINO on the CPU: one patch a run, as many runs side by side as there are threads."""

    provider = "OpenVINO"
    batch_size = 1

    def __init__(
        self, model_file: Path, *, threads: int | None = None, bfloat16: bool = False
    ) -> None:
        """Compile a model.

        Args:
            model_file: ONNX.
            threads: runs side by side; None takes all cores of this process.
            bfloat16: compute in it, where the CPU does; it keeps 8 bits of the mantissa. What goes
                in and comes out stays float32.

        Raises:
            BackendError: OpenVINO is not installed, or the file is no model of a fixed patch.
        """
        try:
            import openvino
        except ImportError as error:
            raise BackendError(
                f"OpenVINO is not installed; {installed_with('openvino')}, or choose provider cpu"
            ) from error
        # The first call of this in a process takes a lock and lets the GIL go: two threads that
        # both begin with it wait for each other for ever (OpenVINO 2026.4, 4 of 12 tries).
        openvino.Type.f32.to_dtype()
        self._tensor: Any = openvino.Tensor
        self.callers = threads or cores()
        self.way = Way("openvino", "bfloat16" if bfloat16 else "float32")
        try:
            core = openvino_core()
            model = core.read_model(model_file)
            shape = model.input(0).partial_shape
            self.patch: tuple[int, ...] = tuple(size.get_length() for size in list(shape)[2:])
            model.reshape([1, *(size.get_length() for size in list(shape)[1:])])
            self._model: Any = core.compile_model(
                model, "CPU", _config(self.callers, bfloat16=bfloat16)
            )
        except RuntimeError as error:  # all that OpenVINO raises, a dynamic patch as well
            raise BackendError(f"OpenVINO cannot load {model_file.name}: {error}") from error
        self._name = model_file.name
        self._buffers = Buffers(self.callers + KEPT)
        self._shape = _shape_of(self._model.output(0))
        self._has_features = any(OUTPUT in output.names for output in self._model.outputs)
        self._idle: SimpleQueue[Any] = SimpleQueue()
        for _ in range(self.callers):
            self._idle.put(self._model.create_infer_request())

    def run(self, patches: Float32[np.ndarray, "b c *patch"]) -> Float32[np.ndarray, "b k *patch"]:
        """Logits of each patch.

        Raises:
            BackendError: OpenVINO failed, for instance for lack of memory.
        """
        request = self._idle.get()
        try:
            found = [self._run(request, patch[None]) for patch in patches]
            return found[0] if len(found) == 1 else np.concatenate(found)
        except RuntimeError as error:
            raise BackendError(f"the network failed on a batch of patches: {error}") from error
        finally:
            self._idle.put(request)

    def _run(
        self, request: Any, patch: Float32[np.ndarray, "1 c *patch"]
    ) -> Float32[np.ndarray, "1 k *patch"]:
        if self._shape is None:
            found = request.infer([np.ascontiguousarray(patch)], share_inputs=True)
            logits = np.asarray(found[self._model.output(0)], np.float32)
        else:  # a request's own tensor would be held beside each answer, and copied to it
            logits = self._buffers.array(self._shape, np.float32)
            request.set_output_tensor(0, self._tensor(logits, shared_memory=True))
            request.infer([np.ascontiguousarray(patch)], share_inputs=True, share_outputs=True)
        if self._has_features and somebody_listens():
            tell(self._name, np.array(request.get_tensor(OUTPUT).data))
        return logits


def _shape_of(output: Any) -> tuple[int, ...] | None:
    """Of logits that can be written to an array of ours; None where they cannot."""
    shape = output.partial_shape
    is_float32 = output.element_type.get_type_name() == "f32"
    return tuple(shape.to_shape()) if shape.is_static and is_float32 else None


def _config(threads: int, *, bfloat16: bool) -> dict[str, str]:
    return {
        "PERFORMANCE_HINT": "THROUGHPUT",
        "NUM_STREAMS": str(threads),
        "INFERENCE_NUM_THREADS": str(threads),
        # left to itself it takes bfloat16 on newer CPUs, whatever that costs
        "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
    }
