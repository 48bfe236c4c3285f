"""What one file of DICOM is, read from its header: enough to say what is to be done with it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from seg.errors import ImageError
from seg.images.dicom.file import Dataset, is_dicom, parse, translated
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
BEFORE_PIXELS = {"1.2.840.10008.1.2": 8, "1.2.840.10008.1.2.1": 12}
"""Bytes of their tag in little endian, implicit and explicit. In other transfer syntaxes the same
pixels may be packed in another way each time."""
CHUNK = 1 << 20


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
    pixels: str = ""
    """Hash of them; nothing where they are packed."""

    @property
    def look(self) -> tuple[str, str]:
        """What tells it from another image of its name: slices and place, and pixels."""
        return f"{self.slices} {self.position}", self.pixels


def are_two(look: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two files of one SOPInstanceUID cannot be one image that was sent twice."""
    (place, pixels), (place_2, pixels_2) = look, other
    return place != place_2 or bool(pixels and pixels_2 and pixels != pixels_2)


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
            pixels=_hash_of_pixels(file, header) if is_image else "",
        )


def _hash_of_pixels(file: BinaryFile, header: Dataset) -> str:
    """Of as many bytes as they have; the file stands before their tag, where parsing stopped."""
    before = BEFORE_PIXELS.get(str(header.file_meta.TransferSyntaxUID))
    if before is None:
        return ""
    sizes = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")
    left = int(header.get("NumberOfFrames") or 1)
    for size in sizes:
        left *= int(header.get(size) or 0)
    left //= 8
    digest = hashlib.sha256()
    file.read(before)
    while left > 0 and (chunk := file.read(min(left, CHUNK))):
        digest.update(chunk)
        left -= len(chunk)
    return digest.hexdigest()[:32]


def _direction(normal: np.ndarray) -> Direction:
    cosines = np.abs(normal)
    axis = int(cosines.argmax())
    return NORMALS[axis] if cosines[axis] > ALONG else "oblique"
