"""Whether a place in the world can be true: headers hold numbers that no scanner ever meant."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from seg.errors import ImageError
from seg.frozen import LARGEST_MM, SMALLEST_MM

UNLIKE = 1e5
"""How much longer one edge of a voxel may be than another: more is a unit that one axis lacks."""
FARTHEST = 1e9
"""Voxels between an image and the origin of its world: further away, float32 forgets by far where
neighbours lie."""
STEEPEST = 0.5
"""Share of a box's volume that sheared axes must keep: the half is left at 30 degrees."""
OF_A_GANTRY = 0.85
"""The same of a gantry, which tilts by 30 degrees at most."""


def check_spacing(spacing: tuple[float, ...], dims: int) -> None:
    """Pass where each voxel has a size that there is.

    Raises:
        ImageError: one is missing, no number, or none that an image has.
    """
    if len(spacing) != dims:
        raise ImageError(f"spacing needs {dims} numbers, one a spatial axis, got {spacing}")
    if not all(np.isfinite(mm) and mm > 0 for mm in spacing):
        raise ImageError(f"spacing must be above 0 mm and finite, got {spacing}")
    if not all(SMALLEST_MM <= mm <= LARGEST_MM for mm in spacing):
        raise ImageError(
            f"no voxel has the spacing {_listed(spacing)} mm that the file states; repair the "
            "header (is the unit right?)"
        )
    if max(spacing) > UNLIKE * min(spacing):
        raise ImageError(
            f"the edges of a voxel, {_listed(spacing)} mm, differ by more than a factor of "
            f"{UNLIKE:.0e}; repair the header (have all axes the same unit?)"
        )


def check_affine(affine: Float[np.ndarray, "4 4"], dims: int) -> None:
    """Pass where voxels have a place of their own.

    Raises:
        ImageError: numbers are missing, axes lie nearly in one plane, or the image lies nowhere.
    """
    if affine.shape != (4, 4):
        raise ImageError(f"an affine has 4 x 4 numbers, got {affine.shape}")
    if not np.isfinite(affine).all():
        raise ImageError("the affine holds NaN or infinite numbers; repair the file's header")
    if not np.allclose(affine[3], (0, 0, 0, 1)):
        raise ImageError(
            f"the last row of an affine is 0, 0, 0, 1, got {_listed(affine[3])}; repair the "
            "file's header"
        )
    axes = affine[:3, :dims]
    sizes = np.linalg.norm(axes, axis=0)
    if not sizes.all():
        raise ImageError("the affine maps the volume onto a plane; repair the file's header")
    check_spacing(tuple(float(mm) for mm in sizes[::-1]), dims)
    if share_of_box(axes / sizes) < STEEPEST:
        raise ImageError(
            "the axes of the image lie nearly in one plane, as no scanner has them; repair the "
            "directions in the file's header"
        )
    origin = affine[:3, 3]
    if np.abs(origin).max() > FARTHEST * sizes.max():
        raise ImageError(
            f"the image lies at {_listed(origin)} mm, where no scanner is; repair the origin in "
            "the file's header"
        )


def is_steeper_than_a_gantry(affine: Float[np.ndarray, "4 4"], dims: int) -> bool:
    """Whether the axes are sheared as no scanner shears them, though each voxel has its place."""
    axes = affine[:3, :dims]
    return share_of_box(axes / np.linalg.norm(axes, axis=0)) < OF_A_GANTRY


def share_of_box(directions: Float[np.ndarray, "world axes"]) -> float:
    """Volume, or area, that unit vectors span: 1 where they are at right angles."""
    return float(np.sqrt(max(0.0, np.linalg.det(directions.T @ directions))))


def _listed(numbers: Iterable[float]) -> str:
    return " x ".join(f"{number:.4g}" for number in numbers)
