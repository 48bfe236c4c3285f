"""Where voxels lie, in the axes that DICOM and ITK have: x to the left, y to the back, z up."""

import numpy as np
from jaxtyping import Float

from seg.errors import UnsupportedImageError
from seg.images.grid.image import Affine, Image, Mask


def lps_affine(grid: Image | Mask) -> Affine:
    """Maps voxel indices ``(x, y, z, 1)`` to LPS+ mm; without a position from 0 along the axes."""
    if grid.affine is not None:
        affine: Affine = LPS_TO_RAS @ grid.affine  # its own inverse
        return affine
    zooms = (*(grid.spacing or (1.0,) * grid.dims)[::-1], 1.0)[:3]
    return np.diag([*zooms, 1.0])


def directions(affine: Affine) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3 3"]]:
    """Spacing ``(x, y, z)`` in mm, and the directions of the axes as columns of length 1.

    Raises:
        UnsupportedImageError: the affine maps the volume onto a plane.
    """
    if np.linalg.det(affine[:3, :3]) == 0:
        raise UnsupportedImageError(
            "the image's affine maps the volume onto a plane, where this format has no place for "
            "it; repair the image's header"
        )
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    return sizes, affine[:3, :3] / sizes


LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
