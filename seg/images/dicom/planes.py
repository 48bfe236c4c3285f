"""Where the frames of DICOM files lie: each a plane in the patient.

DICOM's patient axes run to the left, to the back and to the head (LPS). Source: DICOM PS3.3,
C.7.6.2 (Image Plane Module).
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from seg.errors import ImageError, UnsupportedImageError
from seg.images.dicom.file import Dataset
from seg.images.grid.image import Spacing

UNEVEN = 0.1
"""How far a slice may lie from its place, as a part of the distance between slices: scanners round
positions to a tenth of a millimetre."""


SAME = 1e-3
"""Largest difference of direction cosines, and of pixel sizes as a part, within one series."""

NUCLEAR_MEDICINE = "1.2.840.10008.5.1.4.1.1.20"
"""SOP class whose frames may be slices, projections, moments or views of several detectors."""

SLICES_OF_NM = ("RECON TOMO", "RECON GATED TOMO")
"""Third value of its ImageType where they are slices. Source: DICOM PS3.3, C.8.4.9.1.1."""

CENTIMETRES = 3
"""PhysicalUnitsXDirection of an ultrasound region. Source: DICOM PS3.3, C.8.5.5.1.15."""

TWO_DIMENSIONAL = 1
"""RegionSpatialFormat of an ultrasound region that shows tissue or flow, not a curve."""

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


def plane_of(header: Dataset, frame: int = 0) -> Plane:
    """The plane of one frame, from functional groups where there are some.

    Raises:
        ImageError: a pixel size that is none, or directions that are not at right angles.
    """
    measures = functional(header, frame, "PixelMeasuresSequence")
    place = functional(header, frame, "PlanePositionSequence")
    turn = functional(header, frame, "PlaneOrientationSequence")
    if header.get("SOPClassUID") == NUCLEAR_MEDICINE and place.get("ImagePositionPatient") is None:
        place = turn = _detector(header)
    axes = _numbers(turn, "ImageOrientationPatient", 6)
    return Plane(
        pixel=_pixel_size(measures),
        thickness=_thickness(measures),
        position=_numbers(place, "ImagePositionPatient", 3),
        axes=None if axes is None else _checked_axes(axes.reshape(2, 3)),
    )


def planes_of(header: Dataset, frames: int) -> list[Plane]:
    """The plane of each frame of a file, in the order of the file.

    Raises:
        ImageError: as ``plane_of``; or offsets of frames that are none.
        UnsupportedImageError: frames of nuclear medicine that are no slices.
    """
    if header.get("PerFrameFunctionalGroupsSequence"):
        return [plane_of(header, frame) for frame in range(frames)]
    if header.get("SOPClassUID") == NUCLEAR_MEDICINE and frames > 1:
        _check_nuclear_slices(header)
    first = plane_of(header)
    if frames == 1 or not first.is_placed:
        return [first] * frames
    steps = _steps_from_first(header, first, frames)
    if steps is None:
        return [replace(first, position=None)] * frames
    return [replace(first, position=first.position + step) for step in steps]


def _steps_from_first(
    header: Dataset, first: Plane, frames: int
) -> Float[np.ndarray, "frames 3"] | None:
    """Where frames lie from the first one, LPS mm; None where the file does not say.

    Offsets of a dose grid are relative along the normal where they begin with 0, and positions
    along z where they begin with that of the first frame. In nuclear medicine the sign of the
    spacing says on which side of the first slice the others lie.

    Source: DICOM PS3.3, C.8.8.3.2 (Grid Frame Offset Vector) and C.8.4.15 (NM Reconstruction).
    """
    offsets = header.get("GridFrameOffsetVector")
    if offsets is not None and offsets != "":
        along = _numbers(header, "GridFrameOffsetVector", frames)
        assert along is not None
        assert first.position is not None
        if along[0] == 0:
            return _along(along, first.normal)
        apart = float(np.abs(np.diff(along)).min())
        upright = np.abs(np.abs(first.normal[2]) - 1) <= SAME
        if abs(along[0] - first.position[2]) > UNEVEN * apart or not upright:
            raise ImageError(
                "the DICOM GridFrameOffsetVector begins neither with 0 nor with the z of "
                "ImagePositionPatient, so nothing says where the frames lie; repair the header"
            )
        return _along(along - along[0], np.array([0.0, 0.0, 1.0]))
    if header.get("SOPClassUID") == NUCLEAR_MEDICINE:
        step = _numbers(header, "SpacingBetweenSlices", 1)
        mm = float(step[0]) if step is not None and step[0] else first.thickness
        numbers = _numbers(header, "SliceVector", frames)
        places = np.arange(frames) if numbers is None else numbers - numbers.min()
        return None if not mm else _along(places * mm, first.normal)
    return None


def _along(mm: Float[np.ndarray, "n"], direction: Vector) -> Float[np.ndarray, "n 3"]:
    found: Float[np.ndarray, "n 3"] = np.outer(mm, direction)
    return found


def _check_nuclear_slices(header: Dataset) -> None:
    value: Any = header.get("ImageType") or ()
    kinds = [value] if isinstance(value, str) else [str(each) for each in value]
    kind = kinds[2] if len(kinds) > 2 else ""
    if kind and kind not in SLICES_OF_NM:
        raise UnsupportedImageError(
            f"the frames of this DICOM file of nuclear medicine are no slices but {kind[:16]} "
            "(projections, moments or views); send the reconstruction, or one frame"
        )
    counted = [header.get(name) for name in ("NumberOfEnergyWindows", "NumberOfTimeSlots")]
    if any(number and int(number) > 1 for number in counted):
        raise UnsupportedImageError(
            "one moment and one energy window are needed, this DICOM file of nuclear medicine "
            "holds several; send its volumes one by one"
        )


def _detector(header: Dataset) -> Dataset:
    """Where position and orientation stand in nuclear medicine: with the first detector."""
    detectors = header.get("DetectorInformationSequence")
    return detectors[0] if detectors else header


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


def _pixel_size(header: Dataset) -> Spacing | None:
    """Distance of rows and columns in mm; at the detector for projections.

    Zero is what programs write that do not know it.
    """
    for name in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        size = _numbers(header, name, 2)
        if size is None or not size.all():
            continue
        if name == "ImagerPixelSpacing":
            size = size / float(header.get("EstimatedRadiographicMagnificationFactor") or 1.0)
        if not ((size > 0) & (size < 1e6)).all():
            raise ImageError(
                f"the DICOM pixel spacing must be above 0 mm, got {tuple(size.tolist())}; "
                "repair the header"
            )
        return float(size[0]), float(size[1])
    return _of_ultrasound(header)


def _of_ultrasound(header: Dataset) -> Spacing | None:
    """The size of a pixel that all regions of an ultrasound picture agree on.

    Source: DICOM PS3.3, C.8.5.5 (US Region Calibration).
    """
    sizes = []
    for region in header.get("SequenceOfUltrasoundRegions") or ():
        if region.get("RegionSpatialFormat") != TWO_DIMENSIONAL:
            continue
        units = region.get("PhysicalUnitsXDirection"), region.get("PhysicalUnitsYDirection")
        deltas = [_numbers(region, f"PhysicalDelta{axis}", 1) for axis in "YX"]
        if units != (CENTIMETRES, CENTIMETRES) or any(each is None for each in deltas):
            return None
        sizes.append([10 * abs(float(each[0])) for each in deltas if each is not None])
    if not sizes or not np.allclose(sizes, sizes[0], rtol=SAME, atol=0) or 0 in sizes[0]:
        return None
    return round(sizes[0][0], 9), round(sizes[0][1], 9)


def _thickness(header: Dataset) -> float | None:
    for name in ("SpacingBetweenSlices", "SliceThickness"):
        size = _numbers(header, name, 1)
        if size is not None and size[0]:
            return abs(float(size[0]))
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
