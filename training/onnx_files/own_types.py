"""An ONNX network computed as it is written: each operator in the type of its own inputs.

onnxruntime's CPU has no float16 convolution and computes in float32 what a graphics card would
round, so that it says nothing of what a network in float16 loses. onnx's reference evaluator rounds
every value; its convolutions are loops in Python, which torch's take the place of here: sums in
float32, as tensor cores have them, and a result that is rounded.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from jaxtyping import Float32
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from torch.nn import functional

CONVOLUTIONS = {2: functional.conv2d, 3: functional.conv3d}
TRANSPOSED = {2: functional.conv_transpose2d, 3: functional.conv_transpose3d}
SLOW = frozenset({"Resize", "MaxPool", "Upsample"})
POOLS = {2: functional.avg_pool2d, 3: functional.avg_pool3d}


class OwnTypesBackend:
    """A backend that computes as the file is written; slow."""

    provider, batch_size, callers = "onnx", 1, 1

    def __init__(self, file: Path, *, tf32: bool = False) -> None:
        """Read a file; with ``tf32`` convolutions take in 10 bits, as tensor cores do."""
        model = onnx.load(file)
        (source,) = model.graph.input
        self._name = source.name
        self._logits = model.graph.output[0].name  # features may come behind them
        self.patch = tuple(each.dim_value for each in source.type.tensor_type.shape.dim[2:])
        convolutions = [Tf32Conv, Tf32ConvTranspose] if tf32 else [Conv, ConvTranspose]
        self._evaluator = ReferenceEvaluator(model, new_ops=[*convolutions, AveragePool])

    def run(self, patches: Float32[np.ndarray, "b c *patch"]) -> Float32[np.ndarray, "b k *patch"]:
        """Logits of each patch."""
        with np.errstate(all="ignore"):  # what overflows is seen in the answer
            (logits,) = self._evaluator.run([self._logits], {self._name: patches})
        return np.asarray(logits, np.float32)


def can_be_evaluated(file: Path) -> bool:
    """Whether all operators are fast enough: the evaluator has some as loops over voxels."""
    return not {node.op_type for node in onnx.load(file).graph.node} & SLOW


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.require(array, np.float32, ["W"]))


def _symmetric(pads: Any, dims: int) -> list[int]:
    before, after = list(pads or [0] * 2 * dims)[:dims], list(pads or [0] * 2 * dims)[dims:]
    if before != after:
        raise NotImplementedError(f"pads {pads} differ before and after")
    return before


class Conv(OpRun):  # type: ignore[misc]  # untyped library
    """A convolution."""

    def _run(  # type: ignore[no-untyped-def]  # noqa: PLR0913 - by the library's names
        self, X, W, B=None, auto_pad=None, dilations=None, group=None,  # noqa: N803
        kernel_shape=None, pads=None, strides=None,
    ):  # fmt: skip
        dims = X.ndim - 2
        found: torch.Tensor = CONVOLUTIONS[dims](
            _tensor(X), _tensor(W), None if B is None else _tensor(B), stride=strides or 1,
            padding=_symmetric(pads, dims), dilation=dilations or 1, groups=group or 1,
        )  # fmt: skip
        return (found.numpy().astype(X.dtype),)


class ConvTranspose(OpRun):  # type: ignore[misc]
    """A transposed convolution."""

    def _run(  # type: ignore[no-untyped-def]  # noqa: PLR0913
        self, X, W, B=None, auto_pad=None, dilations=None, group=None,  # noqa: N803
        kernel_shape=None, output_padding=None, output_shape=None, pads=None, strides=None,
    ):  # fmt: skip
        dims = X.ndim - 2
        found: torch.Tensor = TRANSPOSED[dims](
            _tensor(X), _tensor(W), None if B is None else _tensor(B), stride=strides or 1,
            padding=_symmetric(pads, dims), output_padding=output_padding or 0,
            groups=group or 1, dilation=dilations or 1,
        )  # fmt: skip
        return (found.numpy().astype(X.dtype),)


class AveragePool(OpRun):  # type: ignore[misc]
    """A mean over small windows."""

    def _run(  # type: ignore[no-untyped-def]  # noqa: PLR0913
        self, x, auto_pad=None, ceil_mode=None, count_include_pad=None, dilations=None,
        kernel_shape=None, pads=None, strides=None,
    ):  # fmt: skip
        dims = x.ndim - 2
        found: torch.Tensor = POOLS[dims](
            _tensor(x), kernel_shape, strides, _symmetric(pads, dims), bool(ceil_mode),
            bool(count_include_pad),
        )  # fmt: skip
        return (found.numpy().astype(x.dtype),)


def rounded_to_tf32(array: np.ndarray) -> np.ndarray:
    """float32 of which the mantissa has 10 bits; the nearest, to even."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    half = np.uint32(0xFFF) + ((bits >> np.uint32(13)) & np.uint32(1))
    return ((bits + half) & np.uint32(0xFFFFE000)).view(np.float32)


class Tf32Conv(Conv):
    """A convolution of rounded numbers."""

    def _run(self, X, W, *others, **options):  # type: ignore[no-untyped-def]  # noqa: N803
        taken = rounded_to_tf32(X), rounded_to_tf32(W)
        return super()._run(*taken, *others, **options)  # type: ignore[no-untyped-call]


class Tf32ConvTranspose(ConvTranspose):
    """A transposed convolution of rounded numbers."""

    def _run(self, X, W, *others, **options):  # type: ignore[no-untyped-def]  # noqa: N803
        taken = rounded_to_tf32(X), rounded_to_tf32(W)
        return super()._run(*taken, *others, **options)  # type: ignore[no-untyped-call]


# by which the evaluator knows what it computes
Tf32Conv.__name__, Tf32ConvTranspose.__name__ = Conv.__name__, ConvTranspose.__name__
