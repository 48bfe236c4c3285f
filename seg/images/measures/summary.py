"""A mask in numbers: how much of the image each class takes."""

import json
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64, Integer

from seg.images.grid.classes import ClassInfo
from seg.images.grid.image import Mask

BLOCK = 2**20
"""Labels counted at once: counting casts them to 8 bytes each."""


def encode_summary(mask: Mask, classes: Sequence[ClassInfo]) -> bytes:
    """JSON: size, spacing and per class the pixels or voxels, their share and their extent.

    The extent is ``area_mm2``, or ``volume_mm3`` and ``volume_ml``; it is left out where the
    spacing is not known.
    """
    counts = count_labels(mask.array, max(entry.index for entry in classes) + 1)
    summary = {
        "axes": "zyx"[-mask.dims :],
        "size": list(mask.spatial_shape),
        "spacing_mm": None if mask.spacing is None else list(mask.spacing),
        "classes": [_describe(entry, int(counts[entry.index]), mask) for entry in classes],
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


def _describe(entry: ClassInfo, count: int, mask: Mask) -> dict[str, object]:
    described: dict[str, object] = {
        "index": entry.index,
        "name": entry.name,
        "color": list(entry.color),
        "pixels" if mask.dims == 2 else "voxels": count,
        "share": count / mask.array.size,
    }
    if mask.voxel_extent is not None:
        extent = count * mask.voxel_extent
        if mask.dims == 2:
            described["area_mm2"] = extent
        else:
            described |= {"volume_mm3": extent, "volume_ml": extent / 1000}
    return described
