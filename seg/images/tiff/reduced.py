"""A part of a TIFF, coarser: of a pyramid the level that is fine enough is read, and nothing else.

Letters: ``c`` channels.
"""

from math import ceil
from pathlib import Path

import numpy as np
from jaxtyping import Real

from seg.errors import ImageError
from seg.images.grid.limits import Limits, ReadOptions
from seg.images.storage.files import Source, open_binary
from seg.images.tiff.parts import opened_tiff

Box = tuple[int, int, int, int]
"""Of all pixels: the first column and row, and how many of each."""

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_reduced(
    source: Source, *, limits: Limits, box: Box | None, longest: int
) -> tuple[Real[np.ndarray, "c y x"], tuple[int, int]] | None:
    """Every n-th pixel of a part of a flat TIFF, and the size (y, x) of the whole.

    None where the file is no TIFF that can be read part by part. Pixels of a coarser level are
    means, as their writer made them, or as many as it chose.

    Args:
        source: the file.
        limits: on the whole image.
        box: the part; None is all of it.
        longest: most pixels along an edge of what is returned; n is the least that is enough.

    Raises:
        ImageError: as ``read_image``, or the part does not lie in the image.
    """
    path = source if isinstance(source, Path) else None
    options = ReadOptions(dims=2, limits=limits)
    with open_binary(source) as file:
        if file.read(4) not in MAGIC:
            return None
        file.seek(0)
        with opened_tiff(path, file, options) as whole:
            if whole is None:
                return None
            height, width = whole.spatial_shape
        rows, columns = sampled((height, width), box, longest)
        file.seek(0)
        with opened_tiff(path, file, options, step=step_of(rows, columns)) as level:
            assert level is not None, "it was read before"
            at = [
                (places * n // size, n)
                for places, size, n in zip(
                    (rows, columns), (height, width), level.spatial_shape, strict=True
                )
            ]
            region = tuple(slice(int(i[0]), min(int(i[-1]) + 1, n)) for i, n in at)
            found = level.read(region)
            y, x = (places - part.start for (places, _), part in zip(at, region, strict=True))
            return found[:, y[:, np.newaxis], x], (height, width)


def sampled(size: tuple[int, int], box: Box | None, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the whole image that are shown of a part.

    Raises:
        ImageError: the part does not lie in the image.
    """
    height, width = size
    left, top, columns, rows = box or (0, 0, width, height)
    if not (0 <= left < left + columns <= width and 0 <= top < top + rows <= height):
        raise ImageError(
            f"the part {left},{top},{columns},{rows} does not lie in the image of {width} x "
            f"{height} pixels"
        )
    step = ceil(max(rows, columns) / longest)
    return np.arange(top, top + rows, step), np.arange(left, left + columns, step)


def step_of(*places: np.ndarray) -> int:
    """How far sampled rows and columns are apart."""
    return max((int(each[1] - each[0]) for each in places if len(each) > 1), default=1)
