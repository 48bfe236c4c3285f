"""A mask in numbers: how much of the image each class takes."""

import json
from collections.abc import Sequence
from math import prod

import numpy as np
from jaxtyping import Int64, Integer

from seg.images.grid.classes import ClassInfo
from seg.images.grid.image import Mask, Spacing

BLOCK = 2**20
"""Labels counted at once: counting casts them to 8 bytes each."""


def encode_summary(mask: Mask, classes: Sequence[ClassInfo]) -> bytes:
    """JSON: size, spacing and per class the pixels or voxels, their share and their extent.

    The extent is ``area_mm2``, or ``volume_mm3`` and ``volume_ml``; it is left out where the
    spacing is not known.
    """
    counts = count_labels(mask.array, max(entry.index for entry in classes) + 1)
    return summary_of(counts, classes, mask.spatial_shape, mask.spacing, mask.voxel_extent)


def summary_of(
    counts: Integer[np.ndarray, "k"],
    classes: Sequence[ClassInfo],
    shape: tuple[int, ...],
    spacing: Spacing | None,
    voxel_extent: float | None,
) -> bytes:
    """The same of voxels that were counted before."""
    total = prod(shape)
    summary = {
        "axes": "zyx"[-len(shape) :],
        "size": list(shape),
        "spacing_mm": None if spacing is None else list(spacing),
        "classes": [
            _describe(entry, int(counts[entry.index]), len(shape), total, voxel_extent)
            for entry in classes
        ],
    }
    return json.dumps(summary, indent=2).encode()


def count_labels(
    labels: Integer[np.ndarray, "*spatial"], num_classes: int
) -> Int64[np.ndarray, "k"]:
    """Number of pixels or voxels of each class."""
    flat = labels.reshape(-1)
    counts = np.zeros(num_classes, np.int64)
    for start in range(0, flat.size, BLOCK):
        counts += np.bincount(flat[start : start + BLOCK], minlength=num_classes)
    return counts


def _describe(
    entry: ClassInfo, count: int, dims: int, total: int, voxel_extent: float | None
) -> dict[str, object]:
    described: dict[str, object] = {
        "index": entry.index,
        "name": entry.name,
        "color": list(entry.color),
        "pixels" if dims == 2 else "voxels": count,
        "share": count / total,
    }
    if voxel_extent is not None:
        extent = count * voxel_extent
        if dims == 2:
            described["area_mm2"] = extent
        else:
            described |= {"volume_mm3": extent, "volume_ml": extent / 1000}
    return described
