"""Where DICOM slices lie, and how they make a volume.

DICOM's patient axes run to the left, to the back and to the head (LPS); ours to the right, to the
front and to the head (RAS). Source: DICOM PS3.3, C.7.6.2 (Image Plane Module).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from seg.errors import ImageError
from seg.images.dicom.file import Dataset
from seg.images.grid.image import Affine, Spacing
from seg.images.grid.world import LPS_TO_RAS

UNEVEN = 0.1
"""How far a slice may lie from its place, as a part of the distance between slices: scanners round
positions to a tenth of a millimetre."""


SAME = 1e-3
"""Largest difference of direction cosines, and of pixel sizes as a part, within one series."""


Vector = Float[np.ndarray, "3"]


@dataclass(frozen=True, eq=False, slots=True)
class Plane:
    """One slice: its pixel size, and where it lies where the file says so."""

    pixel: Spacing | None
    """Distance of rows and of columns, in mm."""
    thickness: float | None
    position: Vector | None
    """Centre of the first pixel, LPS in mm."""
    axes: Float[np.ndarray, "2 3"] | None
    """Unit vectors along a row and down a column, LPS."""

    @property
    def is_placed(self) -> bool:
        """The plane lies in the patient."""
        return self.pixel is not None and self.position is not None and self.axes is not None

    @property
    def normal(self) -> Vector:
        """Unit vector that makes a right-handed system with the axes, LPS."""
        assert self.axes is not None
        return np.cross(*self.axes)


@dataclass(frozen=True, eq=False, slots=True)
class Stack:
    """Slices in order, and the grid that they make."""

    order: tuple[int, ...]
    spacing: Spacing | None
    affine: Affine | None


def plane_of(header: Dataset, frame: int = 0) -> Plane:
    """The plane of one frame, from functional groups where there are some.

    Raises:
        ImageError: a pixel size that is none, or directions that are not at right angles.
    """
    measures = functional(header, frame, "PixelMeasuresSequence")
    place = functional(header, frame, "PlanePositionSequence")
    turn = functional(header, frame, "PlaneOrientationSequence")
    axes = _numbers(turn, "ImageOrientationPatient", 6)
    return Plane(
        pixel=_pixel_size(measures),
        thickness=_thickness(measures),
        position=_numbers(place, "ImagePositionPatient", 3),
        axes=None if axes is None else _checked_axes(axes.reshape(2, 3)),
    )


def functional(header: Dataset, frame: int, name: str) -> Dataset:
    """Where a frame's attributes stand: in its functional group, in the shared one, or plainly."""
    for groups, index in (
        ("PerFrameFunctionalGroupsSequence", frame),
        ("SharedFunctionalGroupsSequence", 0),
    ):
        sequence = header.get(groups)
        if sequence and (group := sequence[index].get(name)):
            return group[0]
    return header


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


def _pixel_size(header: Dataset) -> Spacing | None:
    """Distance of rows and columns in mm; at the detector for projections."""
    for name in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        size = _numbers(header, name, 2)
        if size is None:
            continue
        if name == "ImagerPixelSpacing":
            size = size / float(header.get("EstimatedRadiographicMagnificationFactor") or 1.0)
        if not ((size > 0) & (size < 1e6)).all():
            raise ImageError(
                f"the DICOM pixel spacing must be above 0 mm, got {tuple(size.tolist())}; "
                "repair the header"
            )
        return float(size[0]), float(size[1])
    return None


def _thickness(header: Dataset) -> float | None:
    for name in ("SpacingBetweenSlices", "SliceThickness"):
        size = _numbers(header, name, 1)
        if size is not None and size[0] > 0:
            return float(size[0])
    return None


def _checked_axes(axes: Float[np.ndarray, "2 3"]) -> Float[np.ndarray, "2 3"]:
    if np.abs(axes @ axes.T - np.eye(2)).max() > 1e-2:
        raise ImageError(
            "the DICOM image orientation must be two unit vectors at a right angle, got "
            f"{axes.round(4).tolist()}; repair the header"
        )
    unit: Float[np.ndarray, "2 3"] = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    return unit


def _numbers(header: Dataset, name: str, count: int) -> Float[np.ndarray, "n"] | None:
    """The numbers of an attribute; None where it is empty or absent."""
    value = header.get(name)
    if value is None or value == "":
        return None
    numbers = np.atleast_1d(np.array(value, dtype=np.float64))
    if numbers.size == 0:
        return None
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise ImageError(
            f"the DICOM attribute {name} must hold {count} finite numbers; repair the header"
        )
    return numbers
