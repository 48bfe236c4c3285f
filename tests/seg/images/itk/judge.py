"""SimpleITK as the judge of where an image lies."""

from itertools import permutations, product

import numpy as np
import SimpleITK

RAS = np.diag([-1.0, -1, 1, 1])
"""LPS to RAS and back."""

ORIENTATIONS = [
    np.eye(3)[list(order)] * signs
    for order in permutations(range(3))
    for signs in product((1, -1), repeat=3)
]
"""All 48 orders and flips of the axes."""


def name_of(orientation):
    """Letters of the patient's sides that the axes run to, in LPS."""
    sides = ("LR", "PA", "SI")
    return "".join(
        sides[axis][0 if orientation[axis, i] > 0 else 1]
        for i, axis in enumerate(np.abs(orientation).argmax(0))
    )


def itk_image(
    array, orientation=None, spacing=(0.7, 0.9, 2.5), origin=(-31.0, 12.5, 100.25), **more
):
    image = SimpleITK.GetImageFromArray(array, **more)
    dims = image.GetDimension()
    image.SetSpacing(spacing[:dims])
    image.SetOrigin(origin[:dims])
    if orientation is not None:
        image.SetDirection(orientation.ravel().tolist())
    return image


def affine_of(image):
    """From voxels (x, y, z) to RAS+ mm."""
    dims = image.GetDimension()
    affine = np.eye(4)
    affine[:dims, :dims] = np.reshape(image.GetDirection(), (dims, dims)) * image.GetSpacing()
    affine[:dims, 3] = image.GetOrigin()
    return RAS @ affine
