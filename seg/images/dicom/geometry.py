"""How DICOM slices make a volume.

DICOM's patient axes run to the left, to the back and to the head (LPS); ours to the right, to the
front and to the head (RAS). Source: DICOM PS3.3, C.7.6.2 (Image Plane Module).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from seg.errors import ImageError
from seg.images.dicom.file import Dataset
from seg.images.dicom.planes import SAME, UNEVEN, Plane, Vector
from seg.images.grid.image import Affine, Spacing
from seg.images.grid.world import LPS_TO_RAS
from seg.sentences import Sentence


@dataclass(frozen=True, eq=False, slots=True)
class Stack:
    """Slices in order, and the grid that they make."""

    order: tuple[int, ...]
    spacing: Spacing | None
    affine: Affine | None


def flat(plane: Plane) -> Stack:
    """The grid of a single slice; its third axis runs through the slice."""
    affine = None
    if plane.is_placed:
        affine = _affine(plane, plane.normal * (plane.thickness or 1.0))
    return Stack((0,), plane.pixel, affine)


def stack(planes: Sequence[Plane]) -> Stack:
    """Slices sorted along their normal, which is how they lie, whatever their names and numbers.

    A tilted gantry shears the grid: each slice begins a little beside the one below, and so says
    the affine.

    Raises:
        ImageError: slices are missing, doubled, turned against each other or unevenly spaced.
    """
    first = planes[0]
    if not all(plane.is_placed for plane in planes):
        raise ImageError(
            "the DICOM slices do not say where they lie (position, orientation and pixel spacing); "
            "send them as a NIfTI file or a TIFF stack"
        )
    for plane in planes:
        _check_alike(first, plane)
    normal = first.normal
    positions = np.array([plane.position for plane in planes])
    depth = positions @ normal
    order = tuple(int(i) for i in np.argsort(depth, kind="stable"))
    positions, depth = positions[list(order)], depth[list(order)]
    _check_steps(np.diff(depth))
    step = (positions[-1] - positions[0]) / (len(planes) - 1)
    places = positions[0] + np.arange(len(planes))[:, None] * step
    off = float(np.linalg.norm(positions - places, axis=1).max())
    if off > UNEVEN * np.linalg.norm(step):
        raise ImageError(
            f"the DICOM slices are not evenly spaced, one lies {off:.3g} mm beside its place; "
            "resample the series to an even distance"
        )
    assert first.pixel is not None
    affine = _affine(planes[order[0]], step)
    return Stack(order, (float(np.linalg.norm(step)), *first.pixel), affine)


def missing_between(headers: Sequence[Dataset], grid: Stack) -> tuple[str, ...]:
    """What is to be said of slices that lie evenly, and further apart than they say.

    Every second slice may be lost; or the header tells the thickness of slices with gaps.
    """
    stated = {str(header.get("SpacingBetweenSlices") or "") for header in headers} - {""}
    if len(stated) != 1 or grid.spacing is None:
        return ()
    usual, mm = abs(float(stated.pop())), grid.spacing[0]
    if not 0 < usual * 1.5 < mm:
        return ()
    return (
        Sentence(
            f"the DICOM header says {usual:.4g} mm between slices, which lie {mm:.4g} mm apart: "
            "slices may be missing",
            "slices_missing",
            stated=usual,
            here=mm,
        ),
    )


def stack_with_gaps(
    planes: Sequence[Plane], stated: float | None = None
) -> tuple[Stack, tuple[int, ...]]:
    """The grid of frames of which several may lie in one slice and slices may be left out.

    Args:
        planes: In any order.
        stated: Distance of slices in mm, where the file tells it.

    Returns:
        The grid, and for each plane the slice in which it lies.

    Raises:
        ImageError: planes are turned against each other or lie beside every even grid.
    """
    first = planes[0]
    for plane in planes:
        _check_alike(first, plane)
    assert first.pixel is not None
    positions = np.array([plane.position for plane in planes])
    depth = positions @ first.normal
    order = np.argsort(depth, kind="stable")
    apart = stated / 4 if stated else min(first.pixel) / 20
    ranks = np.cumsum(np.diff(depth[order], prepend=depth[order[0]]) > apart)
    lowest = order[np.unique(ranks, return_index=True)[1]]  # one plane of each slice
    if len(lowest) == 1:
        step = first.normal * (first.thickness or 1.0)
        counts = np.zeros(1, int)
    else:
        step, counts = _even_steps(positions[lowest], depth[lowest], stated)
    places = np.empty(len(planes), int)
    places[order] = counts[ranks]
    spacing = (float(np.linalg.norm(step)), *first.pixel)
    grid = Stack(tuple(int(i) for i in order), spacing, _affine(planes[order[0]], step))
    return grid, tuple(int(place) for place in places)


def _even_steps(
    positions: Float[np.ndarray, "n 3"], depth: Float[np.ndarray, "n"], stated: float | None
) -> tuple[Vector, Int[np.ndarray, "n"]]:
    """The step from slice to slice, and how many steps each one lies from the first."""
    gaps = np.diff(depth)
    for usual in (stated, float(gaps.min()), float(np.median(gaps))):
        if not usual:
            continue
        counts = np.concatenate([[0], np.cumsum(np.maximum(np.rint(gaps / usual), 1))]).astype(int)
        step = (positions[-1] - positions[0]) / counts[-1]
        off = np.linalg.norm(positions - positions[0] - counts[:, None] * step, axis=1).max()
        if off <= 2 * UNEVEN * np.linalg.norm(step):  # the ends, too, may lie beside their place
            return step, counts
    raise ImageError(
        f"the frames of the DICOM SEG are not evenly spaced, one lies {off:.3g} mm beside its "
        "place; send it together with the series that it was made of"
    )


def _check_alike(first: Plane, other: Plane) -> None:
    assert first.axes is not None
    assert other.axes is not None
    assert first.pixel is not None
    assert other.pixel is not None
    if np.abs(first.axes - other.axes).max() > SAME:
        raise ImageError(
            "the DICOM slices are turned against each other, so they are no volume (is a localizer "
            "among them?); send slices of one orientation"
        )
    if not np.allclose(first.pixel, other.pixel, rtol=SAME, atol=0):
        raise ImageError(
            f"the DICOM slices differ in pixel spacing, {first.pixel} and {other.pixel} mm; "
            "send one series"
        )


def _check_steps(steps: Float[np.ndarray, "n"]) -> None:
    usual = float(np.median(steps))
    doubled = int((steps <= 1e-3 * max(usual, 1e-3)).sum())
    if doubled:
        raise ImageError(
            f"{doubled} DICOM slices lie where another one lies: several moments, echoes or copies "
            "in one series; send one of them"
        )
    widest = int(np.argmax(steps))
    if steps[widest] > 1.5 * usual:
        missing = max(1, round(float(steps[widest]) / usual) - 1)
        raise ImageError(
            f"the DICOM series lacks slices: {steps[widest]:.4g} mm lie between slices "
            f"{widest + 1} and {widest + 2} and {usual:.4g} mm between others, so about {missing} "
            "are missing; send the whole series"
        )


def _affine(plane: Plane, step: Vector) -> Affine:
    assert plane.pixel is not None
    assert plane.axes is not None
    rows_mm, columns_mm = plane.pixel
    affine = np.eye(4)
    affine[:3, 0] = plane.axes[0] * columns_mm
    affine[:3, 1] = plane.axes[1] * rows_mm
    affine[:3, 2] = step
    affine[:3, 3] = plane.position
    return LPS_TO_RAS @ affine
