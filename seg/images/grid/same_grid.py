"""Whether channels that come in several files lie on one grid."""

import numpy as np

from seg.errors import ImageError
from seg.images.grid.image import Affine, Spacing
from seg.images.grid.source import ImageSource

SAME_STEP = 1e-3
"""Of a voxel's size: what steps of grids may differ that are one. Headers hold rounded numbers."""
SAME_PLACE = 0.1
"""Of a voxel's size: what their first voxels may lie apart."""


def check_grid(first: ImageSource, other: ImageSource, number: int) -> None:
    """Pass where both lie on one grid; ``number`` counts files from 0.

    Raises:
        ImageError: they do not.
    """
    if other.spatial_shape != first.spatial_shape:
        raise ImageError(
            f"all channels need one size, file 1 has {first.spatial_shape} and file "
            f"{number + 1} has {other.spatial_shape}; resample one onto the other"
        )
    for what, is_same in (("spacing", _same_spacing), ("affine", _same_affine)):
        ours, theirs = getattr(first, what), getattr(other, what)
        if (ours is None) != (theirs is None) or (ours is not None and not is_same(ours, theirs)):
            raise ImageError(
                f"all channels need one grid, but {what} of file 1 and of file {number + 1} "
                "differ; resample one onto the other"
            )


def _same_spacing(ours: Spacing, theirs: Spacing) -> bool:
    """Whatever the unit: a micrometre is a thousandth of a millimetre, and no rounding error."""
    return bool(np.allclose(ours, theirs, rtol=SAME_STEP, atol=0))


def _same_affine(ours: Affine, theirs: Affine) -> bool:
    sizes = np.linalg.norm(ours[:3, :3], axis=0)
    steps = np.linalg.norm(ours[:3, :3] - theirs[:3, :3], axis=0)
    apart = np.abs(ours[:3, 3] - theirs[:3, 3]).max()
    return bool((steps <= SAME_STEP * sizes).all() and apart <= SAME_PLACE * sizes.min())
