"""The DICOM images that a mask was made from, for objects that refer to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from seg.errors import ImageError
from seg.images.dicom.file import Dataset, pydicom, translated
from seg.images.dicom.geometry import stack
from seg.images.dicom.planes import Plane, plane_of, planes_of
from seg.images.dicom.text import cleaned
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

FURTHER = (  # kept where they are known: who it is, how old, and what an anonymiser did
    "IssuerOfPatientID",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "PatientComments",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "StudyDescription",
    "ClinicalTrialSponsorName",
    "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID",
    "ClinicalTrialSiteName",
    "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID",
    "ClinicalTrialTimePointID",
    "ClinicalTrialTimePointDescription",
)

SEXES = ("M", "F", "O", "")

MANUFACTURER = "seg"


@dataclass(frozen=True, eq=False, slots=True)
class SourceSlice:
    """Where a slice of the mask comes from."""

    header: Dataset
    frame: int | None
    """From 0, where one file holds all of them."""
    plane: Plane

    def reference(self) -> Dataset:
        """What DICOM objects name it by."""
        reference = item(
            ReferencedSOPClassUID=self.header.SOPClassUID,
            ReferencedSOPInstanceUID=self.header.SOPInstanceUID,
        )
        if self.frame is not None:
            reference.ReferencedFrameNumber = self.frame + 1
        return reference


def source_slices(mask: Mask, image: Image | None, *, placed: bool = False) -> list[SourceSlice]:
    """One a slice of the mask, in the order of its array.

    Args:
        mask: What was made from the image.
        image: The image; a volume lies in a frame of reference.
        placed: A flat image must lie in one as well.

    Raises:
        ImageError: the image did not come from DICOM, lies on another grid, or lacks the UIDs by
            which it is referred to.
    """
    headers = headers_of(image, mask.spatial_shape)
    with translated():
        required = REQUIRED if mask.dims == 2 and not placed else (*REQUIRED, PLACED)
        for header in headers:
            missing = [name for name in required if not header.get(name)]
            if missing:
                raise ImageError(
                    f"the DICOM images cannot be referred to, they lack {', '.join(missing)}; "
                    "send them as they came from the scanner"
                )
        slices = mask.array.size // prod(mask.spatial_shape[-2:])
        if len(headers) == slices:
            return [SourceSlice(header, None, plane_of(header)) for header in headers]
        planes = planes_of(headers[0], slices)
        known = all(plane.is_placed for plane in planes)
        order = stack(planes).order if known else range(slices)
        return [SourceSlice(headers[0], frame, planes[frame]) for frame in order]


def headers_of(
    image: Image | None, spatial_shape: tuple[int, ...] | None = None
) -> Sequence[Dataset]:
    """What a DICOM object refers to that is made from an image.

    Args:
        image: the image.
        spatial_shape: of the mask that the object holds; None before there is one.

    Raises:
        ImageError: the image did not come from DICOM, or lies on another grid.
    """
    if image is None or not image.headers:
        raise ImageError(
            "a DICOM object refers to the DICOM images it was made from, and this image did not "
            "come from DICOM; send the DICOM series, or take another format"
        )
    if spatial_shape not in (None, image.spatial_shape):
        raise ImageError(
            f"a mask of {spatial_shape} does not belong to an image of {image.spatial_shape}"
        )
    slices = image.spatial_shape[0] if image.dims == 3 else 1
    if len(image.headers) not in (1, slices):
        raise ImageError(
            f"{slices} DICOM headers are needed, one a slice, or one for all, got "
            f"{len(image.headers)}"
        )
    return image.headers


def patient_and_study(header: Dataset) -> dict[str, object]:
    """Whose image it is and in which study, each value as the standard has it, by attribute."""
    found: dict[str, object] = {name: cleaned(header, name) for name in PATIENT_AND_STUDY}
    if found["PatientSex"] not in SEXES:
        found["PatientSex"] = ""
    further = {name: cleaned(header, name) for name in FURTHER}
    return found | {name: value for name, value in further.items() if value}


def item(**attributes: object) -> Dataset:
    """A Dataset of these attributes."""
    found = pydicom().Dataset()
    for name, value in attributes.items():
        setattr(found, name, value)
    return found
