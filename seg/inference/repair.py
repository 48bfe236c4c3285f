"""Repair a mask by scribbles and clicks: what they free is solved again, all else stays.

A seed says the label of a voxel. Where it contradicts the mask, the part that it lies in is free
within a reach around it; a random walker fills it from the seeds and from what stands around it,
along the edges of the network's probabilities and of the image.

Source: Grady, Random walks for image segmentation, IEEE TPAMI 28 (2006).
Letters: ``f`` features.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Integer
from scipy import ndimage

from seg.errors import ConfigError

NO_SEED = -1
USUAL_REACH = 24.0
"""Finest voxels around a seed where the mask has no object to go by."""
LONGEST_REACH = {2: 80.0, 3: 24.0}
"""Finest voxels, by dimensions: what is solved while somebody waits."""
STIFFNESS = 1000.0
"""How much an edge stops the walker: ``beta`` of scikit-image."""
IMAGE_WEIGHT = 0.5
"""Of the image beside the network's probabilities."""
SMOOTHED = 1.0
"""Voxels, standard deviation: noise of the image that is no edge."""
STANDS_OUT = 4.0
"""Deviations of what is around that a mark's intensity is another than usual there."""
APART = 1.3
"""Depths of a mark in its part that another core lies away from it."""
THICKNESS = 2.0
"""Finest voxels around a mark that are the same as it."""
AROUND = 2
"""Voxels beyond the reach that are looked at, to stand around it."""


def repaired(  # noqa: PLR0913 - all that a repair goes by
    labels: Integer[np.ndarray, "*spatial"],
    seeds: Integer[np.ndarray, "*spatial"],
    probabilities: Float32[np.ndarray, "f *spatial"],
    image: Float32[np.ndarray, "c *spatial"] | None = None,
    *,
    spacing: Sequence[float] | None = None,
    reach: float | None = None,
    are_objects: bool = False,
) -> Integer[np.ndarray, "*spatial"]:
    """The mask once the seeds are obeyed; differs from ``labels`` near contradicting seeds only.

    Args:
        labels: classes, or numbers of objects.
        seeds: label of each voxel that somebody marked, ``NO_SEED`` elsewhere; a label that is
            nowhere yet is a new object.
        probabilities: of the network, of each of its channels, in [0, 1].
        image: whose edges count as well.
        spacing: of the grid, in mm; None where voxels are as long as they are wide.
        reach: how far a seed is heard, in voxels of the finest axis; None follows the objects.
        are_objects: labels are numbers of objects, so that one object marked within another cuts it
            in two; of classes the whole part changes.

    Raises:
        ConfigError: the reach is not above 0.
    """
    if reach is not None and not reach > 0:
        raise ConfigError(f"a reach is above 0 voxels, got {reach:g}")
    new = labels.astype(np.result_type(labels.dtype, np.int32))
    marked = seeds != NO_SEED
    against = marked & (seeds != labels)
    if not against.any():
        return new
    steps = _steps(spacing, labels.ndim)
    reach = _reach(labels, seeds, against, reach)
    box = _box(marked, reach, steps)
    inner = new[box]
    free = _free(inner, against[box], reach, steps) & ~marked[box]
    inner[marked[box]] = seeds[box][marked[box]]
    if free.any():
        features = [probabilities[(slice(None), *box)]]
        if image is not None:
            features.append(_scaled(image[(slice(None), *box)], free, against[box]))
        if are_objects:
            free &= ~_kept_cores(inner, free, marked[box], steps)
        free = _widened(inner, free, marked[box], steps)
        inner[free] = _walked(inner, free, np.concatenate(features), steps)
    return new


def _kept_cores(
    labels: Integer[np.ndarray, "*spatial"],
    free: Bool[np.ndarray, "*spatial"],
    marked: Bool[np.ndarray, "*spatial"],
    steps: np.ndarray,
) -> Bool[np.ndarray, "*spatial"]:
    """Where an object was that another one was marked in: its core away from the mark stays it."""
    cores = np.zeros(labels.shape, bool)
    for old in np.unique(labels[free]):
        if not old or (marked & (labels == old)).any():
            continue  # background has no core, and a mark of its own says more
        part = free & (labels == old)
        marks = marked & (labels > 0) & ndimage.binary_dilation(part)
        if not marks.any():
            continue
        depth = ndimage.distance_transform_edt(np.pad(part | marks, 1), sampling=steps)
        depth = depth[(slice(1, -1),) * labels.ndim]
        away = ndimage.distance_transform_edt(~marks, sampling=steps)
        deep = np.where(part & (away > APART * depth[marks].max()), depth, 0)
        place = np.unravel_index(np.argmax(deep), deep.shape)
        if deep[place] >= depth[marks].max() / 2:
            cores[place] = True
    return np.asarray(ndimage.binary_dilation(cores, iterations=int(THICKNESS)) & free)


def _widened(
    labels: Integer[np.ndarray, "*spatial"],
    free: Bool[np.ndarray, "*spatial"],
    marked: Bool[np.ndarray, "*spatial"],
    steps: np.ndarray,
) -> Bool[np.ndarray, "*spatial"]:
    """What is free once marks are as thick as a fingertip: a walker hardly meets a single voxel.

    ``labels`` get the label of the nearest mark there.
    """
    away, nearest = ndimage.distance_transform_edt(~marked, sampling=steps, return_indices=True)
    thick = free & (away <= THICKNESS)
    labels[thick] = labels[tuple(nearest[:, thick])]
    return free & ~thick


def box_of(
    seeds: Integer[np.ndarray, "*spatial"], reach: float, spacing: Sequence[float] | None = None
) -> tuple[slice, ...]:
    """What a repair may change, and what it looks at."""
    return _box(seeds != NO_SEED, reach, _steps(spacing, seeds.ndim))


def _steps(spacing: Sequence[float] | None, dims: int) -> np.ndarray:
    """Lengths of a voxel in those of its shortest side."""
    steps = np.array(spacing if spacing is not None else (1.0,) * dims)
    return np.asarray(steps / steps.min())


def _reach(
    labels: Integer[np.ndarray, "*spatial"],
    seeds: Integer[np.ndarray, "*spatial"],
    against: Bool[np.ndarray, "*spatial"],
    reach: float | None,
) -> float:
    """As far as an object is long: of the part that is freed, or of those around."""
    longest = LONGEST_REACH[labels.ndim]
    if reach is not None:
        return min(reach, longest)
    freed = np.unique(labels[against])
    if (freed == 0).any():  # background is everywhere: as large as objects nearby are
        near = tuple(
            slice(max(0, int(i.min()) - int(longest)), int(i.max()) + int(longest) + 1)
            for i in np.nonzero(against)
        )
        parts, count = ndimage.label(labels[near] > 0)
        sizes = np.bincount(parts.ravel())[1:] if count else np.array([])
        across = float(np.median(sizes)) ** (1 / labels.ndim) if count else USUAL_REACH
        return float(np.clip(1.2 * across, 4, longest))
    return longest


def _box(
    marked: Bool[np.ndarray, "*spatial"], reach: float, steps: np.ndarray
) -> tuple[slice, ...]:
    sides = []
    for axis, step in enumerate(steps):
        others = tuple(a for a in range(marked.ndim) if a != axis)
        along = np.flatnonzero(marked.any(axis=others))
        far = int(np.ceil(reach / step)) + AROUND
        sides.append(slice(max(0, int(along[0]) - far), int(along[-1]) + far + 1))
    return tuple(sides)


def _free(
    labels: Integer[np.ndarray, "*spatial"],
    against: Bool[np.ndarray, "*spatial"],
    reach: float,
    steps: np.ndarray,
) -> Bool[np.ndarray, "*spatial"]:
    """Of the parts in which contradicting seeds lie, what is within reach of them."""
    near = ndimage.distance_transform_edt(~against, sampling=steps) <= reach
    free = np.zeros(labels.shape, bool)
    for label in np.unique(labels[against]):
        parts, _ = ndimage.label((labels == label) & near)
        touched = np.unique(parts[against & (labels == label)])
        free |= np.isin(parts, touched[touched > 0])
    return free


def _scaled(
    image: Float32[np.ndarray, "c *spatial"],
    free: Bool[np.ndarray, "*spatial"],
    against: Bool[np.ndarray, "*spatial"],
) -> Float32[np.ndarray, "c *spatial"]:
    """Each channel from what is usual around the marks to what is marked, where these differ.

    A pale object beside bright ones has an edge then; the walker would not see it in a range that
    the bright ones set. Else from 0 to ``IMAGE_WEIGHT`` within what is solved.
    """
    scaled = np.empty(image.shape, np.float32)
    finger = ndimage.binary_dilation(against, iterations=int(THICKNESS))
    for channel, out in zip(np.nan_to_num(image), scaled, strict=True):
        smooth = ndimage.gaussian_filter(channel, SMOOTHED)
        around, there = smooth[free], smooth[finger]
        usual, marked = float(np.median(around)), float(np.median(there))
        spread = 1.48 * float(np.median(np.abs(around - usual)))  # of normal noise one deviation
        if abs(marked - usual) > STANDS_OUT * spread:
            out[...] = np.clip((smooth - usual) / (marked - usual), 0, 1)
            continue
        low, high = np.percentile(channel, (1, 99))
        out[...] = IMAGE_WEIGHT * np.clip((channel - low) / max(high - low, 1e-9), 0, 1)
    return scaled


def _walked(
    labels: Integer[np.ndarray, "*spatial"],
    free: Bool[np.ndarray, "*spatial"],
    features: Float32[np.ndarray, "f *spatial"],
    steps: np.ndarray,
) -> Integer[np.ndarray, " n"]:
    """What the free voxels become."""
    from skimage.segmentation import random_walker

    around = ndimage.binary_dilation(free) & ~free
    there = np.unique(labels[around])
    if len(there) < 2:
        return np.full(int(free.sum()), there[0] if len(there) else 0)
    markers = np.full(labels.shape, -1, np.int32)  # what is far is no part of the graph
    markers[around] = np.searchsorted(there, labels[around]) + 1
    markers[free] = 0
    settings: dict[str, Any] = {"beta": STIFFNESS, "tol": 1e-2, "prob_tol": 1.0}
    with warnings.catch_warnings():  # about solvers that would be faster still
        warnings.simplefilter("ignore")
        walked = random_walker(
            np.moveaxis(features, 0, -1), markers, mode="cg_j", channel_axis=-1,
            spacing=steps, **settings,
        )  # fmt: skip
    # what no marker reaches stays background
    return np.where(walked[free] > 0, there[np.maximum(walked[free], 1) - 1], 0)
