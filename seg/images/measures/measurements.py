"""What can be measured on a mask, as a table for spreadsheets and statistics.

Letters: ``c`` channels.
"""

from collections.abc import Sequence

from seg.errors import ImageError
from seg.images.grid.classes import ClassInfo
from seg.images.grid.image import Image, Mask
from seg.images.measures.tally import ClassTally, Tally
from seg.tables.comma_separated import csv_text

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
    tally = Tally(max(entry.index for entry in classes) + 1)
    tally.add(mask.array, None if image is None else image.array)
    return table_of(tally, classes, mask.dims, mask.voxel_extent, image.channels if image else 0)


def table_of(
    tally: Tally,
    classes: Sequence[ClassInfo],
    dims: int,
    voxel_extent: float | None,
    channels: int,
) -> bytes:
    """The table of what was counted.

    Args:
        tally: Of the whole mask.
        classes: Of the mask.
        dims: 2 or 3.
        voxel_extent: Volume of a voxel in mm³, or area of a pixel in mm².
        channels: Of the image whose intensities were counted.
    """
    rows = (
        _row(entry, tally.classes[entry.index], dims, voxel_extent)
        for entry in classes
        if entry.index
    )
    return csv_text(_columns(dims, channels), rows, end="\r\n").encode()


def _columns(dims: int, channels: int) -> list[str]:
    size = ["pixels", "area_mm2"] if dims == 2 else ["voxels", "volume_ml"]
    means = [f"mean_{channel}" for channel in range(channels)]
    box = [f"{axis}_{end}" for end in ("first", "last") for axis in "zyx"[-dims:]]
    return ["index", "name", *size, "components", *means, *box]


def _row(
    entry: ClassInfo, tally: ClassTally, dims: int, voxel_extent: float | None
) -> dict[str, Cell]:
    extent = None if voxel_extent is None else tally.count * voxel_extent
    row: dict[str, Cell] = {
        "index": entry.index,
        "name": entry.name,
        "components": tally.components,
    }
    if dims == 2:
        row |= {"pixels": tally.count, "area_mm2": extent}
    else:
        row |= {"voxels": tally.count, "volume_ml": None if extent is None else extent / 1000}
    row |= {f"mean_{number}": total / tally.count for number, total in enumerate(tally.sums)}
    for axis, first, last in zip("zyx"[-dims:], tally.first, tally.last, strict=False):
        row |= {f"{axis}_first": first, f"{axis}_last": last}
    return row
