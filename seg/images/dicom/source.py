"""The DICOM images that a mask was made from, for objects that refer to them."""

import copy
from collections.abc import Sequence
from math import prod

from seg.errors import ImageError
from seg.images.dicom.file import Dataset, translated
from seg.images.dicom.geometry import plane_of, stack
from seg.images.grid.image import Image, Mask

REQUIRED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")

PLACED = "FrameOfReferenceUID"
"""Required too, where positions are written: they mean nothing without it."""

PATIENT_AND_STUDY = (  # empty where they are not known, says the standard; anonymisers drop them
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)

SEXES = ("M", "F", "O", "")

MANUFACTURER = "seg"

SERIES_NUMBER = 9000
"""Of what we write, so that it is listed behind the images."""


def source_headers(mask: Mask, image: Image | None, *, placed: bool = False) -> tuple[Dataset, ...]:
    """The image's headers, one a slice or one for all, the first one complete.

    Args:
        mask: What was made from the image.
        image: The image; a volume lies in a frame of reference.
        placed: A flat image must lie in one as well.

    Raises:
        ImageError: the image did not come from DICOM, lies on another grid, or lacks the UIDs by
            which it is referred to.
    """
    if image is None or not image.headers:
        raise ImageError(
            "a DICOM object refers to the DICOM images it was made from, and this image did not "
            "come from DICOM; send the DICOM series, or take another format"
        )
    if image.spatial_shape != mask.spatial_shape:
        raise ImageError(
            f"a mask of {mask.spatial_shape} does not belong to an image of {image.spatial_shape}"
        )
    slices = mask.spatial_shape[0] if mask.dims == 3 else 1
    if len(image.headers) not in (1, slices):
        raise ImageError(
            f"{slices} DICOM headers are needed, one a slice, or one for all, got "
            f"{len(image.headers)}"
        )
    with translated():
        required = REQUIRED if mask.dims == 2 and not placed else (*REQUIRED, PLACED)
        for header in image.headers:
            missing = [name for name in required if not header.get(name)]
            if missing:
                raise ImageError(
                    f"the DICOM images cannot be referred to, they lack {', '.join(missing)}; "
                    "send them as they came from the scanner"
                )
        return (_complete(image.headers[0], mask), *image.headers[1:])


def source_frames(mask: Mask, headers: Sequence[Dataset]) -> list[tuple[Dataset, int | None]]:
    """The file of each slice, and its frame, from 0, where one file holds all of them."""
    if len(headers) == mask.array.size // prod(mask.spatial_shape[-2:]):
        return [(header, None) for header in headers]
    slices = mask.spatial_shape[0]
    with translated():
        frames = [plane_of(headers[0], frame) for frame in range(slices)]
        placed = all(frame.is_placed for frame in frames)
        order = stack(frames).order if placed else range(slices)
    return [(headers[0], frame) for frame in order]


def _complete(header: Dataset, mask: Mask) -> Dataset:
    complete = copy.deepcopy(header)
    for name in PATIENT_AND_STUDY:
        if name not in complete:
            setattr(complete, name, "")
    if complete.PatientSex not in SEXES:
        complete.PatientSex = ""
    if mask.dims == 3 and mask.spacing is not None and not complete.get("SliceThickness"):
        complete.SliceThickness = round(mask.spacing[0], 6)
    return complete
