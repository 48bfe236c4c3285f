"""Masks as RT Structure Sets, the contours of radiotherapy, written with pydicom alone.

A contour follows the borders of pixels, so that filling it gives the mask back, voxel by voxel. A
hole is joined to its outer contour by the keyhole technique (a channel without width), which
every reader of closed planar contours understands; XOR contours are read by some only.

Source: DICOM PS3.3, A.19 (RT Structure Set IOD) and C.8.8.5 to C.8.8.8.
"""

import io
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from jaxtyping import Float

from seg.errors import ImageError
from seg.images.dicom.file import Dataset, pydicom, translated
from seg.images.dicom.source import (
    MANUFACTURER,
    PATIENT_AND_STUDY,
    SERIES_NUMBER,
    source_frames,
    source_headers,
)
from seg.images.grid.classes import ClassInfo
from seg.images.grid.image import Image, Mask
from seg.images.grid.world import lps_affine
from seg.images.outlines.polygons import keyholed, outlines
from seg.version import version_of

STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"
"""SOP class of an RT Structure Set."""

CONTOUR_DATA = 0x30060050

STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"
"""Retired, and still what the referenced study is called by."""

DECIMALS = 4
"""Of a coordinate in mm: a tenth of a micrometre, and room for 16 characters."""

LONG_STRING = 64


def encode_rtstruct(mask: Mask, classes: Sequence[ClassInfo], image: Image | None) -> bytes:
    """Closed planar contours in patient mm: a structure for each class but background.

    Raises:
        ImageError: the image did not come from DICOM, or its slices have no position.
    """
    headers = source_headers(mask, image, placed=True)
    if mask.affine is None:
        raise ImageError(
            "contours lie in the patient, and these DICOM images do not say where they were taken "
            "(no position or no pixel size); take dicom-seg"
        )
    foreground = [entry for entry in classes if entry.index]
    with translated():
        dataset = _structure_set(headers[0])
        dataset.ReferencedFrameOfReferenceSequence = [_frame_of_reference(headers)]
        dataset.StructureSetROISequence = [
            _structure(number, entry, headers[0]) for number, entry in _numbered(foreground)
        ]
        contours = _contours(mask, headers)
        dataset.ROIContourSequence = [
            _item(
                ROIDisplayColor=list(entry.color),
                ReferencedROINumber=number,
                **({"ContourSequence": found} if (found := contours.get(entry.index)) else {}),
            )
            for number, entry in _numbered(foreground)
        ]
        dataset.RTROIObservationsSequence = [
            _item(
                ObservationNumber=number,
                ReferencedROINumber=number,
                RTROIInterpretedType="",
                ROIInterpreter="",
            )
            for number, _ in _numbered(foreground)
        ]
        content = io.BytesIO()
        pydicom().dcmwrite(content, dataset, enforce_file_format=True)
    return content.getvalue()


def _structure_set(source: Dataset) -> Dataset:
    """Everything but the contours, for the patient and the study of the source."""
    library = pydicom()
    now = datetime.now(UTC)
    date, time = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    dataset = _item(
        SOPClassUID=STORAGE,
        SOPInstanceUID=library.uid.generate_uid(),
        SeriesInstanceUID=library.uid.generate_uid(),
        StudyInstanceUID=source.StudyInstanceUID,
        FrameOfReferenceUID=source.FrameOfReferenceUID,
        PositionReferenceIndicator=source.get("PositionReferenceIndicator", ""),
        SpecificCharacterSet="ISO_IR 192",
        InstanceCreationDate=date,
        InstanceCreationTime=time,
        Modality="RTSTRUCT",
        SeriesNumber=SERIES_NUMBER + 1,
        SeriesDescription="Segmentation",
        InstanceNumber=1,
        OperatorsName="",
        Manufacturer=MANUFACTURER,
        ManufacturerModelName=MANUFACTURER,
        SoftwareVersions=version_of(),
        StructureSetLabel="SEGMENTATION",
        StructureSetDate=date,
        StructureSetTime=time,
        ApprovalStatus="UNAPPROVED",
    )
    for name in PATIENT_AND_STUDY:
        setattr(dataset, name, source.get(name))
    dataset.file_meta = library.dataset.FileMetaDataset()
    # Explicit lengths of numbers as text end at 64 kB, which is a contour of 2,000 points.
    dataset.file_meta.TransferSyntaxUID = library.uid.ImplicitVRLittleEndian
    return dataset


def _frame_of_reference(headers: Sequence[Dataset]) -> Dataset:
    first = headers[0]
    series = _item(
        SeriesInstanceUID=first.SeriesInstanceUID,
        ContourImageSequence=[_reference(header) for header in headers],
    )
    study = _item(
        ReferencedSOPClassUID=STUDY_CLASS,
        ReferencedSOPInstanceUID=first.StudyInstanceUID,
        RTReferencedSeriesSequence=[series],
    )
    return _item(FrameOfReferenceUID=first.FrameOfReferenceUID, RTReferencedStudySequence=[study])


def _structure(number: int, entry: ClassInfo, source: Dataset) -> Dataset:
    return _item(
        ROINumber=number,
        ReferencedFrameOfReferenceUID=source.FrameOfReferenceUID,
        ROIName=entry.name[:LONG_STRING],
        ROIGenerationAlgorithm="AUTOMATIC",
    )


def _contours(mask: Mask, headers: Sequence[Dataset]) -> dict[int, list[Dataset]]:
    """Of each class that is there, slice by slice."""
    affine, sources = lps_affine(mask), source_frames(mask, headers)
    found: dict[int, list[Dataset]] = {}
    for z, plane in enumerate(mask.array if mask.dims == 3 else mask.array[np.newaxis]):
        for index, polygon in outlines(plane):
            points = _in_patient(keyholed(polygon), z, affine)
            contour = _item(
                ContourGeometricType="CLOSED_PLANAR",
                NumberOfContourPoints=len(points),
            )
            contour[CONTOUR_DATA] = _contour_data(points)
            contour.ContourImageSequence = [_reference(*sources[z])]
            found.setdefault(index, []).append(contour)
    return found


def _contour_data(points: Float[np.ndarray, "points 3"]) -> Any:
    # As it stands in the file: pydicom would look at each number, which takes longer than the rest.
    library = pydicom()
    text = "\\".join(f"{mm:.{DECIMALS}f}" for mm in points.ravel().tolist())
    value = (text + " " * (len(text) % 2)).encode()
    return library.dataelem.RawDataElement(
        library.tag.Tag(CONTOUR_DATA), "DS", len(value), value, 0, True, True
    )


def _in_patient(
    ring: Float[np.ndarray, "points 2"], z: int, affine: Float[np.ndarray, "4 4"]
) -> Float[np.ndarray, "points 3"]:
    """LPS+ mm; whole numbers are the corners of pixels, whose centres are the affine's."""
    indices = np.column_stack([ring - 0.5, np.full(len(ring), z), np.ones(len(ring))])
    points: Float[np.ndarray, "points 3"] = (indices @ affine.T)[:, :3]
    return points


def _reference(header: Dataset, frame: int | None = None) -> Dataset:
    reference = _item(
        ReferencedSOPClassUID=header.SOPClassUID, ReferencedSOPInstanceUID=header.SOPInstanceUID
    )
    if frame is not None:
        reference.ReferencedFrameNumber = frame + 1
    return reference


def _numbered(classes: Sequence[ClassInfo]) -> Iterator[tuple[int, ClassInfo]]:
    yield from enumerate(classes, start=1)


def _item(**attributes: Any) -> Dataset:
    item = pydicom().Dataset()
    for name, value in attributes.items():
        setattr(item, name, value)
    return item
