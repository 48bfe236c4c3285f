"""From one voxel grid to another. Letters: ``c`` channels, ``k`` classes.

The grids share their outer edges, so a voxel's index maps to ``(i + 0.5) * in / out - 0.5``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Int, Integer, Real
from scipy import ndimage

from seg.errors import ImageTooLargeError
from seg.images.grid.image import Spacing
from seg.images.grid.limits import DEFAULT_LIMITS

CUBIC: Literal[3] = 3
SPLINE_REACH = 16
"""Rows beyond which a cubic spline does not feel an input: 0.27 ** 16 is below 1e-9."""
HALF = 0.5
"""Share of the upper neighbour from which it is the nearest."""
MOST_FINER = 64
"""Voxels that one voxel of a file may become, where they are more than any file may hold."""
ANISOTROPY = 3.0
"""Spacing ratio beyond which an axis is resampled by nearest neighbour, since an interpolation
between far slices invents anatomy. Source: Isensee et al., nnU-Net, Nature Methods 18 (2021)."""


def resampled_shape(
    shape: Sequence[int], spacing: Spacing | None, target: Sequence[float | None] | None
) -> tuple[int, ...]:
    """Size in voxels after a change of spacing (mm); the size itself where one is not known.

    Raises:
        ImageTooLargeError: the spacing makes a small image an enormous one.
    """
    if spacing is None or target is None:
        return tuple(shape)
    grid = tuple(
        n if new is None else max(1, round(n * old / new))
        for n, old, new in zip(shape, spacing, target, strict=True)
    )
    if prod(grid) > max(DEFAULT_LIMITS.max_voxels, MOST_FINER * prod(shape)):
        raise ImageTooLargeError(
            f"with voxels of {_listed(spacing)} mm the image would have {_listed(grid)} voxels at "
            f"the {_listed(target)} mm that are wanted; is the unit of its spacing right?"
        )
    return grid


def _listed(numbers: Sequence[float | int | None]) -> str:
    return " x ".join("any" if number is None else f"{number:.4g}" for number in numbers)


def resample_image(
    array: Real[np.ndarray, "c *spatial"], shape: tuple[int, ...], spacing: Spacing | None = None
) -> Float32[np.ndarray, "c *grid"]:
    """Cubic interpolation; nearest neighbour along an axis that is far coarser than the others.

    What is returned is the caller's own, also where nothing is resampled.

    Args:
        array: intensities.
        shape: the new size in voxels.
        spacing: mm of ``array``, to find a coarse axis.
    """
    if array.shape[1:] == shape:
        return array.astype(np.float32, order="C")
    window = Window(0, array.shape[1])
    return resample_image_rows(array, window, shape, range(shape[0]), spacing)


@dataclass(frozen=True, slots=True)
class Window:
    """Which rows, along the first spatial axis, of a larger array are at hand."""

    first: int
    """Index of the first row in the larger array."""
    size: int
    """Rows of the larger array."""


def rows_needed(size_in: int, size_out: int, rows: range) -> range:
    """The input rows on which ``rows`` of the output depend, as far as float32 can tell."""
    if size_in == size_out:
        return rows
    scale = size_in / size_out
    low = int(np.floor((rows.start + 0.5) * scale - 0.5)) - SPLINE_REACH
    high = int(np.ceil((rows.stop - 0.5) * scale - 0.5)) + SPLINE_REACH
    return range(max(0, low), min(size_in, high + 1))


def resample_image_rows(
    array: Real[np.ndarray, "c *window"],
    window: Window,
    shape: tuple[int, ...],
    rows: range,
    spacing: Spacing | None = None,
) -> Float32[np.ndarray, "c *slab"]:
    """Rows ``rows`` of ``resample_image``'s result, from the ``rows_needed`` of its input.

    Args:
        array: intensities of the rows that are at hand.
        window: which rows these are.
        shape: the size in voxels of the whole result.
        rows: those to compute, along the first spatial axis.
        spacing: mm of ``array``, to find a coarse axis.
    """
    coarse = _coarse_axes(spacing)
    fine = tuple(set(range(len(shape))) - set(coarse))
    if 0 in coarse and window.size != shape[0]:
        nearest = np.floor(_places(window.size, shape[0])[rows.start : rows.stop] + 0.5)
        array = array[:, np.clip(nearest, 0, window.size - 1).astype(np.intp) - window.first]
        window = Window(rows.start, shape[0])
    return np.stack([zoom(_nearest(x, shape, coarse), window, shape, rows, fine) for x in array])


def resample_labels(
    labels: Integer[np.ndarray, "*spatial"], shape: tuple[int, ...]
) -> Integer[np.ndarray, "*grid"]:
    """Nearest neighbour: no class appears that was not there."""
    return resample_nearest(labels, shape)


def resample_nearest(
    array: Real[np.ndarray, "*spatial"], shape: tuple[int, ...]
) -> Real[np.ndarray, "*grid"]:
    """Nearest neighbour along every axis."""
    for axis, size in enumerate(shape):
        if array.shape[axis] != size:
            low, high, share = neighbours(array.shape[axis], size)
            array = np.take(array, np.where(share < HALF, low, high), axis=axis)
    return array


def resample_rows(
    logits: Float32[np.ndarray, "k *window"],
    shape: tuple[int, ...],
    rows: range,
    window: Window | None = None,
    nearest_axis: int | None = None,
) -> Float32[np.ndarray, "k *slab"]:
    """Rows ``rows`` (along the first spatial axis) of logits at a size of ``shape``.

    Linear interpolation, but along ``nearest_axis``. A part of the result costs only its own
    memory, and the parts put together equal the whole.

    Args:
        logits: on the network's grid, all rows or those that ``rows`` lie between.
        shape: the size in voxels of the whole result.
        rows: those to compute.
        window: which rows of the network's grid ``logits`` are; all where not given.
        nearest_axis: of the spatial axes, one that takes the nearest neighbour.
    """
    window = window or Window(0, logits.shape[1])
    for axis, size in enumerate(shape, start=1):
        if axis == 1:
            low, high, share = (
                part[rows.start : rows.stop] for part in neighbours(window.size, size)
            )
            low, high = low - window.first, high - window.first
        elif logits.shape[axis] == size:
            continue
        else:
            low, high, share = neighbours(logits.shape[axis], size)
        if axis - 1 == nearest_axis:
            logits = np.take(logits, np.where(share < HALF, low, high), axis=axis)
            continue
        logits = between(logits, low, high, share, axis)
    return logits


def between(
    logits: Float32[np.ndarray, "k *window"],
    low: Int[np.ndarray, " n"],
    high: Int[np.ndarray, " n"],
    share: Float32[np.ndarray, " n"],
    axis: int,
) -> Float32[np.ndarray, "k *part"]:
    """Linear interpolation along an axis, at places that ``neighbours`` gives."""
    column = share.reshape([-1 if i == axis else 1 for i in range(logits.ndim)])
    lower, upper = np.take(logits, low, axis=axis), np.take(logits, high, axis=axis)
    upper -= lower
    upper *= column
    upper += lower
    return upper


def rows_within(size_in: int, size_out: int, known: int) -> int:
    """How many rows of a result ``resample_rows`` can compute when ``known`` rows of input are."""
    if known >= size_in:
        return size_out
    _, high, _ = neighbours(size_in, size_out)
    return int(np.searchsorted(high, known))


def neighbours(
    size_in: int, size_out: int
) -> tuple[np.ndarray, np.ndarray, Float32[np.ndarray, " n"]]:
    """For each output index: the two input indices beside it and the share of the upper one."""
    place = np.clip(_places(size_in, size_out), 0, size_in - 1)
    low = np.floor(place).astype(np.intp)
    return low, np.minimum(low + 1, size_in - 1), (place - low).astype(np.float32)


def _places(size_in: int, size_out: int) -> Float[np.ndarray, " n"]:
    """Where each output index lies among the input's."""
    return (np.arange(size_out) + 0.5) * (size_in / size_out) - 0.5


def _coarse_axes(spacing: Spacing | None) -> tuple[int, ...]:
    if spacing is None:
        return ()
    return tuple(i for i, mm in enumerate(spacing) if mm > ANISOTROPY * min(spacing))


def _nearest(
    x: Real[np.ndarray, "*window"], shape: tuple[int, ...], axes: tuple[int, ...]
) -> Float32[np.ndarray, "*grid"]:
    """Nearest neighbour along those axes, but the first."""
    for axis in axes:
        if axis > 0 and x.shape[axis] != shape[axis]:
            places = np.floor(_places(x.shape[axis], shape[axis]) + 0.5)
            x = np.take(x, np.clip(places, 0, x.shape[axis] - 1).astype(np.intp), axis=axis)
    return x.astype(np.float32)


def zoom(
    x: Float32[np.ndarray, "*window"],
    window: Window,
    shape: tuple[int, ...],
    rows: range,
    fine: tuple[int, ...],
) -> Float32[np.ndarray, "*slab"]:
    """Cubic interpolation to rows of the whole result."""
    sizes = (window.size, *x.shape[1:])
    if all(sizes[axis] == shape[axis] for axis in fine):
        return x[rows.start - window.first : rows.stop - window.first]
    scales = [n / m for n, m in zip(sizes, shape, strict=True)]
    offsets = [0.5 * scale - 0.5 for scale in scales]
    offsets[0] = (rows.start + 0.5) * scales[0] - 0.5 - window.first
    zoomed: np.ndarray = ndimage.affine_transform(
        x,
        np.array(scales),
        offsets,
        (len(rows), *shape[1:]),
        order=CUBIC,
        mode="nearest",
    )
    return zoomed
