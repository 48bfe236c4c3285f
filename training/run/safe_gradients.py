"""Weight gradients of convolutions for which oneDNN, on a CPU, writes past its buffers.

The heap is damaged then: a training ends, hangs or goes on with something else changed. Two kinds
do so (oneDNN 3.12, in torch 2.14), and both are computed in another way here:

- in 3D and bfloat16 with AMX instructions, where slices are few or large. Each slice of a kernel is
  computed as the 2D convolution that it is, with the slices of the volume as a batch.
- in 2D and float32, kernels of one pixel with a stride over fewer channels than a vector has lanes,
  channels side by side (https://github.com/uxlfoundation/oneDNN/issues/6035). What the stride
  leaves is taken first.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_Sizes = tuple[int, ...]
_How = tuple[_Sizes, _Sizes, _Sizes, bool, _Sizes, int]
"""Stride, padding, dilation, whether transposed, output padding, groups."""
_ONLY_INPUT, _ONLY_WEIGHT = (True, False, False), (False, True, False)
"""Of input, weight and bias."""
LANES = 16
"""Of float32 in a vector of AVX-512; narrower ones have eight."""


@contextmanager
def safe_gradients(kind: str) -> Iterator[None]:
    """Within the block, where steps are taken on a CPU, both kinds are computed safely.

    Layers of any library ask ``torch.nn.functional``, which has other functions meanwhile; they
    cost nothing that is no convolution, as a mode of torch would.

    Args:
        kind: of the device.
    """
    ways: dict[str, Callable[..., Tensor]] = {}
    if kind == "cpu":
        ways["conv2d"] = _thinned
        if torch.cpu._is_amx_tile_supported():
            ways |= {"conv3d": _convolved, "conv_transpose3d": _spread}
    before = {name: getattr(functional, name) for name in ways}
    for name, way in ways.items():
        setattr(functional, name, way)
    try:
        yield
    finally:
        for name, way in before.items():
            setattr(functional, name, way)


def _thinned(  # noqa: PLR0913 - as torch has it
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Takes what ``torch.nn.functional.conv2d`` takes."""
    down, right = _sizes(stride, 2)
    is_bare = padding == "valid" or (not isinstance(padding, str) and not any(_sizes(padding, 2)))
    if (
        max(down, right) > 1
        and is_bare
        and tuple(weight.shape[2:]) == (1, 1)
        and weight.shape[1] < LANES
    ):
        input, stride = input[..., ::down, ::right], 1
    return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)


def _convolved(  # noqa: PLR0913 - as torch has it
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Takes what ``torch.nn.functional.conv3d`` takes."""
    if not torch.is_autocast_enabled("cpu"):
        return torch.conv3d(input, weight, bias, stride, padding, dilation, groups)
    if isinstance(padding, str):
        input, padding = _padded(input, weight, _sizes(dilation), padding), 0
    how = (_sizes(stride), _sizes(padding), _sizes(dilation), False, (0, 0, 0), groups)
    return _in_half(input, weight, bias, how)


def _spread(  # noqa: PLR0913 - as torch has it
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Tensor:
    """Takes what ``torch.nn.functional.conv_transpose3d`` takes."""
    if not torch.is_autocast_enabled("cpu"):
        return torch.conv_transpose3d(
            input, weight, bias, stride, padding, output_padding, groups, dilation
        )
    more = _sizes(output_padding)
    how = (_sizes(stride), _sizes(padding), _sizes(dilation), True, more, groups)
    return _in_half(input, weight, bias, how)


def _sizes(value: int | Sequence[int], dims: int = 3) -> _Sizes:
    """One number an axis, of which one may stand for all."""
    sizes = (value,) if isinstance(value, int) else tuple(value)
    return sizes * dims if len(sizes) == 1 else sizes


def _padded(input: Tensor, weight: Tensor, dilation: Sequence[int], padding: str) -> Tensor:
    """What padding by a word adds; the odd voxel at the end, as torch has it."""
    if padding == "valid":
        return input
    all_of_it = [step * (size - 1) for step, size in zip(dilation, weight.shape[2:], strict=True)]
    sides = [side for total in reversed(all_of_it) for side in (total // 2, total - total // 2)]
    return functional.pad(input, sides)


def _in_half(input: Tensor, weight: Tensor, bias: Tensor | None, how: _How) -> Tensor:
    """The convolution as autocast would do it."""
    batched = input if input.dim() == weight.dim() else input[None]
    with torch.autocast("cpu", enabled=False):
        out = _Convolution.apply(batched.bfloat16(), weight.bfloat16(), how)
        if bias is not None:
            out = out + bias.bfloat16().reshape(-1, 1, 1, 1)
    return out if batched is input else out[0]  # type: ignore[no-any-return]


class _Convolution(torch.autograd.Function):
    """A convolution in 3D, or a transposed one."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, how: _How) -> Tensor:
        ctx.save_for_backward(input, weight)
        ctx.how = how
        return torch.ops.aten.convolution(input, weight, None, *how)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        input, weight = ctx.saved_tensors
        (of_output,) = gradients
        of_input = of_weight = None
        if ctx.needs_input_grad[0]:
            of_input = _backward(of_output, input, weight, ctx.how, _ONLY_INPUT)[0]
        if ctx.needs_input_grad[1]:
            is_transposed = ctx.how[3]  # then its input is what a convolution would have given
            larger, smaller = (of_output, input) if is_transposed else (input, of_output)
            of_weight = _of_weight(larger, smaller, weight, ctx.how).to(weight.dtype)
        return of_input, of_weight, None


def _of_weight(larger: Tensor, smaller: Tensor, weight: Tensor, how: _How) -> Tensor:
    """Slice z of the kernel meets slice ``stride * i - padding + dilation * z`` of the larger."""
    (step, *strides), (pad, *paddings), (apart, *dilations), _, _, groups = how
    how_2d = (tuple(strides), tuple(paddings), tuple(dilations), False, (0, 0), groups)
    slices = []
    for z in range(weight.shape[2]):
        shift = apart * z - pad
        first = max(0, -(shift // step))
        last = min(smaller.shape[2], (larger.shape[2] - 1 - shift) // step + 1)
        total = torch.zeros_like(weight[:, :, z], dtype=torch.float32)
        if first < last:
            met = slice(step * first + shift, step * (last - 1) + shift + 1, step)
            for whole, part in zip(larger, smaller, strict=True):  # of each nothing is copied
                images, outputs = _as_batch(whole[:, met]), _as_batch(part[:, first:last])
                total += _backward(outputs, images, weight[:, :, z], how_2d, _ONLY_WEIGHT)[1]
        slices.append(total)
    return torch.stack(slices, dim=2)


def _as_batch(volume: Tensor) -> Tensor:
    """Slices as images, channels side by side."""
    return volume.transpose(0, 1).contiguous(memory_format=torch.channels_last)


def _backward(
    of_output: Tensor,
    input: Tensor,
    weight: Tensor,
    how: tuple[Any, ...],
    wanted: tuple[bool, bool, bool],
) -> Sequence[Tensor]:
    return torch.ops.aten.convolution_backward(  # type: ignore[no-any-return]
        of_output, input, weight, None, *how, wanted
    )
