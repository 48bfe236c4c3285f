"""From one voxel grid to another. Letters: ``c`` channels, ``k`` classes.

The grids share their outer edges, so a voxel's index maps to ``(i + 0.5) * in / out - 0.5``.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Integer, Real
from scipy import ndimage

from seg.images.image import Spacing

CONSTANT: Literal[0] = 0
CUBIC: Literal[3] = 3
ANISOTROPY = 3.0
"""Spacing ratio beyond which an axis is resampled by nearest neighbour, since an interpolation
between far slices invents anatomy. Source: Isensee et al., nnU-Net, Nature Methods 18 (2021)."""


def resampled_shape(
    shape: Sequence[int], spacing: Spacing | None, target: Spacing | None
) -> tuple[int, ...]:
    """Size in voxels after a change of spacing (mm); the size itself where one is not known."""
    if spacing is None or target is None:
        return tuple(shape)
    return tuple(
        max(1, round(n * old / new)) for n, old, new in zip(shape, spacing, target, strict=True)
    )


def resample_image(
    array: Real[np.ndarray, "c *spatial"], shape: tuple[int, ...], spacing: Spacing | None = None
) -> Float32[np.ndarray, "c *grid"]:
    """Cubic interpolation; nearest neighbour along an axis that is far coarser than the others.

    Args:
        array: intensities.
        shape: the new size in voxels.
        spacing: mm of ``array``, to find a coarse axis.
    """
    if array.shape[1:] == shape:
        return array.astype(np.float32)
    coarse = _coarse_axes(spacing)
    return np.stack([_zoom(channel.astype(np.float32), shape, coarse) for channel in array])


def resample_labels(
    labels: Integer[np.ndarray, "*spatial"], shape: tuple[int, ...]
) -> Integer[np.ndarray, "*grid"]:
    """Nearest neighbour: no class appears that was not there."""
    if labels.shape == shape:
        return labels
    for axis, size in enumerate(shape):
        low, high, share = _neighbours(labels.shape[axis], size)
        labels = np.take(labels, np.where(share < 0.5, low, high), axis=axis)
    return labels


def resample_rows(
    logits: Float[np.ndarray, "k *grid"], shape: tuple[int, ...], rows: range
) -> Float32[np.ndarray, "k *slab"]:
    """Rows ``rows`` (along the first spatial axis) of ``logits`` at a size of ``shape``.

    Linear interpolation. A part of the result costs only its own memory, and the parts put
    together equal the whole.
    """
    for axis, size in enumerate(shape, start=1):
        low, high, share = _neighbours(logits.shape[axis], size)
        if axis == 1:
            low, high, share = (part[rows.start : rows.stop] for part in (low, high, share))
        column = share.reshape([-1 if i == axis else 1 for i in range(logits.ndim)])
        upper, lower = np.take(logits, high, axis=axis), np.take(logits, low, axis=axis)
        logits = lower + column * (upper - lower)
    return logits.astype(np.float32, copy=False)


def _neighbours(
    size_in: int, size_out: int
) -> tuple[np.ndarray, np.ndarray, Float32[np.ndarray, " n"]]:
    """For each output index: the two input indices beside it and the share of the upper one."""
    place = (np.arange(size_out) + 0.5) * (size_in / size_out) - 0.5
    place = np.clip(place, 0, size_in - 1)
    low = np.floor(place).astype(np.intp)
    return low, np.minimum(low + 1, size_in - 1), (place - low).astype(np.float32)


def _coarse_axes(spacing: Spacing | None) -> tuple[int, ...]:
    if spacing is None:
        return ()
    return tuple(i for i, mm in enumerate(spacing) if mm > ANISOTROPY * min(spacing))


def _zoom(
    channel: Float32[np.ndarray, "*spatial"],
    shape: tuple[int, ...],
    coarse: tuple[int, ...],
) -> Float32[np.ndarray, "*grid"]:
    fine = tuple(set(range(len(shape))) - set(coarse))
    for axes, degree in ((coarse, CONSTANT), (fine, CUBIC)):
        goal = tuple(shape[i] if i in axes else n for i, n in enumerate(channel.shape))
        if goal != channel.shape:
            factors = tuple(new / old for new, old in zip(goal, channel.shape, strict=True))
            channel = ndimage.zoom(channel, factors, order=degree, mode="nearest", grid_mode=True)
    return channel
