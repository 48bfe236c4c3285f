"""What nnU-Net 2 does to an image, for networks that were trained there. Letters: ``c`` channels.

It differs from ours: what is 0 around an image is cut off, intensities are normalised before the
image is resampled, an interpolation is kept within the intensities that it had, the axis of thick
slices is told by both spacings, and an image smaller than a patch lies amid zeros.

Source: Isensee et al., nnU-Net, Nature Methods 18 (2021), and version 2.8 of its software.
"""

import numpy as np
from jaxtyping import Bool, Float32, Real
from scipy import ndimage

from seg.images.grid.image import Spacing
from seg.transforms.resample import ANISOTROPY, Window, resample_nearest, zoom


def nonzero_mask(array: Real[np.ndarray, "c *spatial"]) -> Bool[np.ndarray, "*spatial"]:
    """Voxels that are not 0 in every channel, and what these enclose."""
    filled: np.ndarray = ndimage.binary_fill_holes((array != 0).any(axis=0))
    return filled


def nonzero_box(mask: Bool[np.ndarray, "*spatial"]) -> tuple[slice, ...]:
    """The smallest box around the mask; all of it where the mask is empty."""
    if not mask.any():
        return tuple(slice(0, n) for n in mask.shape)
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        found = np.flatnonzero(mask.any(axis=others))
        box.append(slice(int(found[0]), int(found[-1]) + 1))
    return tuple(box)


def separate_axis(spacing: Spacing | None, target: Spacing | None) -> int | None:
    """The axis of thick slices, along which nothing is interpolated.

    That of the image's own spacing (mm), or else of the target's. Two axes of the same coarse
    spacing are none.
    """
    if spacing is None or target is None or len(spacing) != 3:
        return None
    for mm in (spacing, target):
        if max(mm) / min(mm) > ANISOTROPY:
            coarse = [axis for axis, each in enumerate(mm) if each == max(mm)]
            return coarse[0] if len(coarse) == 1 else None
    return None


def resample_as_nnunet(
    array: Float32[np.ndarray, "c *spatial"], shape: tuple[int, ...], axis: int | None
) -> Float32[np.ndarray, "c *grid"]:
    """Cubic interpolation within the range of what it is made of.

    Args:
        array: normalised intensities.
        shape: the new size in voxels.
        axis: that is resampled by nearest neighbour, slice by slice in the others.
    """
    if array.shape[1:] == shape:
        return array
    if axis is None:
        return np.stack([_cubic(x, shape) for x in array])
    plane = tuple(n for other, n in enumerate(shape) if other != axis)
    slices = [
        np.stack([_cubic(x, plane) for x in np.moveaxis(channel, axis, 0)], axis=axis)
        for channel in array
    ]
    kept = tuple(array.shape[1 + axis] if other == axis else n for other, n in enumerate(shape))
    assert slices[0].shape == kept
    return np.stack([_nearest_along(x, axis, shape[axis]) for x in slices])


def _cubic(
    x: Float32[np.ndarray, "*spatial"], shape: tuple[int, ...]
) -> Float32[np.ndarray, "*grid"]:
    whole = Window(0, x.shape[0])
    zoomed = zoom(x, whole, shape, range(shape[0]), tuple(range(x.ndim)))
    return np.asarray(np.clip(zoomed, x.min(), x.max()))


def _nearest_along(
    x: Float32[np.ndarray, "*spatial"], axis: int, size: int
) -> Float32[np.ndarray, "*grid"]:
    shape = tuple(size if other == axis else n for other, n in enumerate(x.shape))
    return resample_nearest(x, shape)
