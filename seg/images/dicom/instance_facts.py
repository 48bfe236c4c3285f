"""What one file of DICOM is, read from its header: enough to say what is to be done with it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from seg.errors import ImageError
from seg.images.dicom.file import is_dicom, parse, translated
from seg.images.dicom.planes import plane_of
from seg.images.dicom.series import is_capture, is_localizer, is_segmentation
from seg.images.dicom.text import cleaned
from seg.images.storage.files import BinaryFile

Direction = Literal["axial", "sagittal", "coronal", "oblique", "unknown"]

NORMALS: tuple[Direction, ...] = ("sagittal", "coronal", "axial")
"""Of a patient's axes x, y, z: how slices lie whose normal runs along."""
ALONG = 0.9
"""Cosine of the angle to an axis above which slices are called after it: 25 degrees."""
HEAD_BYTES = 348


@dataclass(frozen=True, kw_only=True, slots=True)
class InstanceFacts:
    """A file of DICOM."""

    sop_class: str
    instance: str
    """SOPInstanceUID."""
    series: str
    study: str
    modality: str
    description: str
    """Of the series; may hold anything, and is never shown or logged."""
    slices: int
    """0 where it is no image of a patient: a mask, a report, a localizer, a screenshot."""
    thickness_mm: float | None
    direction: Direction
    position: tuple[float, ...] | None = None
    """Of its first pixel, LPS in mm."""

    def is_same_image(self, other: "InstanceFacts") -> bool:
        """Whether two files of one SOPInstanceUID can be one image, sent twice."""
        return (self.slices, self.position) == (other.slices, other.position)


def instance_facts(file: BinaryFile) -> InstanceFacts:
    """What a file is.

    Raises:
        ImageError: it is no DICOM, damaged, or lacks one of its UIDs.
    """
    head = file.read(HEAD_BYTES)
    if not is_dicom(head):
        raise ImageError("this is no file of DICOM")
    header = parse(file, pixels=False)
    with translated():
        names = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
        uids = [str(header.get(name) or "") for name in names]
        if not all(uids):
            raise ImageError(
                "the file of DICOM lacks a UID of its class, instance, series or study"
            )
        is_other = is_segmentation(header) or is_localizer(header) or is_capture(header)
        is_image = header.get("Rows") is not None and not is_other
        plane = plane_of(header) if is_image else None
        return InstanceFacts(
            sop_class=uids[0],
            instance=uids[1],
            series=uids[2],
            study=uids[3],
            modality=str(cleaned(header, "Modality")),
            description=str(cleaned(header, "SeriesDescription")),
            slices=int(header.get("NumberOfFrames") or 1) if is_image else 0,
            thickness_mm=plane.thickness if plane else None,
            position=None
            if plane is None or plane.position is None
            else tuple(float(each) for each in plane.position),
            direction="unknown"
            if plane is None or plane.axes is None
            else _direction(plane.normal),
        )


def _direction(normal: np.ndarray) -> Direction:
    cosines = np.abs(normal)
    axis = int(cosines.argmax())
    return NORMALS[axis] if cosines[axis] > ALONG else "oblique"
