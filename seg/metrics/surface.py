"""How far the outlines of two masks lie apart, in mm.

An outline is made of the voxels of a mask that touch background along an axis; distances run
between voxel centres. A grid is told by its spacing, or, where its axes are not at right angles, by
the way from a voxel to its neighbour along each of them (``Image.steps``).
"""

import numpy as np
from jaxtyping import Bool, Float, Float64
from scipy import ndimage
from scipy.spatial import cKDTree

from seg.images import Spacing
from seg.images.grid.image import sheared_share

Grid = Spacing | Float[np.ndarray, "axis world"]
"""In mm, or in pixels where that is not known."""


def hausdorff95(
    prediction: Bool[np.ndarray, "*spatial"],
    reference: Bool[np.ndarray, "*spatial"],
    grid: Grid,
) -> float:
    """95th percentile of the Hausdorff distance: the larger one of both directions, in mm.

    NaN when both masks are empty, infinite when one of them is: no distance makes up for a miss.

    Source: Maier-Hein et al., Metrics reloaded, Nature Methods 21 (2024).
    """
    return surface_scores(prediction, reference, grid, 0.0)[0]


def surface_dice(
    prediction: Bool[np.ndarray, "*spatial"],
    reference: Bool[np.ndarray, "*spatial"],
    grid: Grid,
    tolerance_mm: float,
) -> float:
    """Share of both outlines that lies within the tolerance of the other one (NSD), in [0, 1].

    NaN when both masks are empty and 0 when one of them is, as for ``dice``.

    Source: Nikolov et al., Clinically applicable segmentation of head and neck anatomy, Journal
    of Medical Internet Research 23 (2021); outlines are counted in voxels, not in area.
    """
    return surface_scores(prediction, reference, grid, tolerance_mm)[1]


def surface_scores(
    prediction: Bool[np.ndarray, "*spatial"],
    reference: Bool[np.ndarray, "*spatial"],
    grid: Grid,
    tolerance_mm: float,
) -> tuple[float, float]:
    """``hausdorff95`` and ``surface_dice`` at the price of one of them."""
    if not prediction.any() or not reference.any():
        is_missed = prediction.any() or reference.any()
        return (float("inf"), 0.0) if is_missed else (float("nan"), float("nan"))
    there, back = _surface_distances(prediction, reference, grid)
    hd95 = max(np.percentile(there, 95), np.percentile(back, 95))
    return float(hd95), float((np.concatenate((there, back)) <= tolerance_mm).mean())


def _surface_distances(
    prediction: Bool[np.ndarray, "*spatial"],
    reference: Bool[np.ndarray, "*spatial"],
    grid: Grid,
) -> tuple[Float64[np.ndarray, "p"], Float64[np.ndarray, "r"]]:
    """From each outline voxel of one mask to the nearest of the other, in both directions."""
    (box,) = ndimage.find_objects((prediction | reference).astype(np.uint8))  # far less to measure
    outlines = [_outline(mask[box]) for mask in (prediction, reference)]
    if isinstance(grid, np.ndarray) and sheared_share(grid) < 1:
        # a distance transform knows no shear; the outlines' own points do, and are few
        points = [np.argwhere(outline) @ grid for outline in outlines]
        there, back = (
            np.asarray(cKDTree(to).query(of)[0], np.float64)
            for of, to in (points, reversed(points))
        )
        return there, back
    spacing = np.linalg.norm(grid, axis=1) if isinstance(grid, np.ndarray) else grid
    to_prediction, to_reference = (
        ndimage.distance_transform_edt(~outline, sampling=spacing) for outline in outlines
    )
    return to_reference[outlines[0]], to_prediction[outlines[1]]


def _outline(mask: Bool[np.ndarray, "*spatial"]) -> Bool[np.ndarray, "*spatial"]:
    return mask & ~ndimage.binary_erosion(mask)
