"""Masks of MONAI's shifted windows, traced in a dozen operations in place of hundreds.

They follow from sizes alone, which a package has fixed. MONAI makes each of them by 27 assignments
to parts of a volume, 108 in ``monai:swinunetr``: 669 of the 1519 nodes of its graph in 3D, and most
of the minutes that it takes to be written as ONNX.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

SWIN = "monai.networks.nets.swin_unetr"
APART = -100.0
"""Added to attention between voxels that a cyclic shift has put side by side."""


@contextmanager
def short_masks() -> Iterator[None]:
    """Let Swin Transformers of MONAI make their masks by ``window_mask`` meanwhile."""
    swin: Any = sys.modules.get(SWIN)
    if swin is None:  # then no network is one of these
        yield
        return
    own = swin.compute_mask
    swin.compute_mask = window_mask
    try:
        yield
    finally:
        swin.compute_mask = own


def window_mask(
    dims: Sequence[int],
    window_size: Sequence[int],
    shift_size: Sequence[int],
    device: torch.device | str,
) -> Float[Tensor, "windows n n"]:
    """What ``compute_mask`` of MONAI returns: 0 within a region, ``APART`` between two.

    Source: Liu et al., Swin Transformer, ICCV 2021, figure 4.
    """
    regions = torch.zeros((1,) * (len(dims) + 2), device=device)
    for axis, sizes in enumerate(zip(dims, window_size, shift_size, strict=True)):
        along = torch.tensor(_regions_along(*sizes), device=device)
        shape = [1] * (len(dims) + 2)
        shape[axis + 1] = len(along)
        regions = 3 * regions + along.reshape(shape)
    windows: Tensor = sys.modules[SWIN].window_partition(regions, window_size).squeeze(-1)
    apart = windows.unsqueeze(1) != windows.unsqueeze(2)
    return APART * apart.to(torch.float32)


def _regions_along(length: int, window: int, shift: int) -> list[float]:
    """Which of three regions a voxel is in; without a shift all are in the last."""
    return [
        2.0 if not shift or at >= length - shift else float(at >= length - window)
        for at in range(length)
    ]
