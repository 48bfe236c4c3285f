"""All ways to store the voxels of one volume."""

import itertools

import numpy as np

from seg.images import Image
from seg.images.grid.orientation import Turn

ORDERS = tuple(
    "".join(codes)
    for axes in itertools.permutations(("LR", "PA", "IS"))
    for codes in itertools.product(*axes)
)
"""48 axis codes."""


def stored_in(image: Image, turn: Turn) -> Image:
    """The same volume in another voxel order; its affine is not computed by what is tested."""
    dims = image.dims
    array = image.array.transpose(0, *(1 + axis for axis in turn.axes))
    affine = np.eye(4)
    if image.affine is not None:
        affine = image.affine.copy()
        for place, (axis, flips) in enumerate(zip(turn.axes, turn.flips, strict=True)):
            step = image.affine[:3, dims - 1 - axis]
            affine[:3, dims - 1 - place] = -step if flips else step
            affine[:3, 3] += (image.spatial_shape[axis] - 1) * step * flips
    for place, flips in enumerate(turn.flips, start=1):
        array = np.flip(array, place) if flips else array
    spacing = image.spacing and tuple(image.spacing[axis] for axis in turn.axes)
    return Image(np.ascontiguousarray(array), spacing=spacing, affine=affine)
