"""What can be measured on a mask, as a table for spreadsheets and statistics.

Letters: ``c`` channels.
"""

import csv
import io
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from seg.errors import ImageError
from seg.images.grid.classes import ClassInfo
from seg.images.grid.image import Image, Mask
from seg.images.measures.summary import count_labels

Cell = str | int | float | None


def encode_measurements(mask: Mask, classes: Sequence[ClassInfo], image: Image | None) -> bytes:
    """CSV with a row for each class but background, whether it is there or not.

    ``voxels`` and ``volume_ml`` of a volume, ``pixels`` and ``area_mm2`` of an image (empty where
    the spacing is not known); ``components``, parts joined by faces; ``mean_0``, ... are the mean
    intensities of the image's channels in the file's own unit, Hounsfield in CT; the bounding box
    is the first and last index along each axis.

    Raises:
        ImageError: the image lies on another grid.
    """
    if image is not None and image.spatial_shape != mask.spatial_shape:
        raise ImageError(
            f"a mask of {mask.spatial_shape} cannot be measured on an image of "
            f"{image.spatial_shape}"
        )
    counts = count_labels(mask.array, max(entry.index for entry in classes) + 1)
    boxes = ndimage.find_objects(mask.array, max_label=len(counts) - 1)
    rows = [
        _row(entry, int(counts[entry.index]), boxes[entry.index - 1], mask, image)
        for entry in classes
        if entry.index
    ]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, _columns(mask, image))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _columns(mask: Mask, image: Image | None) -> list[str]:
    size = ["pixels", "area_mm2"] if mask.dims == 2 else ["voxels", "volume_ml"]
    means = [f"mean_{channel}" for channel in range(image.channels if image else 0)]
    axes = "zyx"[-mask.dims :]
    box = [f"{axis}_{end}" for end in ("first", "last") for axis in axes]
    return ["index", "name", *size, "components", *means, *box]


def _row(
    entry: ClassInfo,
    count: int,
    box: tuple[slice, ...] | None,
    mask: Mask,
    image: Image | None,
) -> dict[str, Cell]:
    extent = None if mask.voxel_extent is None else count * mask.voxel_extent
    row: dict[str, Cell] = {"index": entry.index, "name": entry.name, "components": 0}
    if mask.dims == 2:
        row |= {"pixels": count, "area_mm2": extent}
    else:
        row |= {"voxels": count, "volume_ml": None if extent is None else extent / 1000}
    if box is None:
        return row
    inside = mask.array[box] == entry.index
    row["components"] = int(ndimage.label(inside)[1])
    for number, channel in enumerate(image.array if image else ()):
        row[f"mean_{number}"] = float(channel[box].mean(where=inside, dtype=np.float64))
    for axis, along in zip("zyx"[-mask.dims :], box, strict=True):
        row |= {f"{axis}_first": along.start, f"{axis}_last": along.stop - 1}
    return row
