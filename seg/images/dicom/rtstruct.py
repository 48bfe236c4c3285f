"""Masks as RT Structure Sets, the contours of radiotherapy, written with pydicom alone.

A contour follows the borders of pixels, so that filling it gives the mask back, voxel by voxel. A
hole is joined to its outer contour by the keyhole technique (a channel without width), which
every reader of closed planar contours understands; XOR contours are read by some only.

Source: DICOM PS3.3, A.19 (RT Structure Set IOD) and C.8.8.5 to C.8.8.8.
"""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from seg.errors import ImageError
from seg.images.dicom.file import Dataset, pydicom, translated
from seg.images.dicom.made import (
    UNNAMED,
    algorithm_item,
    code_item,
    numbers_taken,
    series_description,
    series_number,
)
from seg.images.dicom.planes import Plane
from seg.images.dicom.source import (
    MANUFACTURER,
    SourceSlice,
    item,
    patient_and_study,
    source_slices,
)
from seg.images.dicom.text import (
    CHARACTER_SET,
    cleaned,
    date_of,
    moment,
    offset_of,
    time_of,
)
from seg.images.grid.classes import ClassInfo
from seg.images.grid.codes import category_of, long_string, type_of
from seg.images.grid.image import Image, Mask
from seg.images.grid.made_by import MadeBy
from seg.images.outlines.polygons import keyholed, outlines
from seg.version import VERSION

STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"
"""SOP class of an RT Structure Set."""

CONTOUR_DATA = 0x30060050

STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"
"""Retired, and still what the referenced study is called by."""

DECIMALS = 4
"""Of a coordinate in mm: a tenth of a micrometre, and room for 16 characters."""


def encode_rtstruct(
    mask: Mask,
    classes: Sequence[ClassInfo],
    image: Image | None,
    made_by: MadeBy | None = None,
) -> bytes:
    """Closed planar contours in patient mm: a structure for each class but background.

    Raises:
        ImageError: the image did not come from DICOM, or its slices have no position.
    """
    slices = source_slices(mask, image, placed=True)
    if mask.affine is None or not all(each.plane.is_placed for each in slices):
        raise ImageError(
            "contours lie in the patient, and these DICOM images do not say where they were taken "
            "(ImagePositionPatient, ImageOrientationPatient and PixelSpacing); take dicom-seg"
        )
    foreground = list(enumerate((entry for entry in classes if entry.index), start=1))
    with translated():
        dataset = _structure_set(slices, made_by or UNNAMED)
        dataset.ReferencedFrameOfReferenceSequence = [_frame_of_reference(slices)]
        dataset.StructureSetROISequence = [
            _structure(number, entry, slices[0].header, made_by or UNNAMED)
            for number, entry in foreground
        ]
        contours = _contours(mask, slices)
        dataset.ROIContourSequence = [
            item(
                ROIDisplayColor=list(entry.color),
                ReferencedROINumber=number,
                **({"ContourSequence": found} if (found := contours.get(entry.index)) else {}),
            )
            for number, entry in foreground
        ]
        dataset.RTROIObservationsSequence = [
            _observation(number, entry) for number, entry in foreground
        ]
        content = io.BytesIO()
        pydicom().dcmwrite(content, dataset, enforce_file_format=True)
    return content.getvalue()


def _structure_set(slices: Sequence[SourceSlice], made_by: MadeBy) -> Dataset:
    """Everything but the contours, for the patient and the study of the source."""
    library = pydicom()
    source = slices[0].header
    now = moment(source)
    series_uid = library.uid.generate_uid()
    dataset = item(
        SOPClassUID=STORAGE,
        SOPInstanceUID=library.uid.generate_uid(),
        SeriesInstanceUID=series_uid,
        StudyInstanceUID=source.StudyInstanceUID,
        FrameOfReferenceUID=source.FrameOfReferenceUID,
        PositionReferenceIndicator=cleaned(source, "PositionReferenceIndicator"),
        SpecificCharacterSet=CHARACTER_SET,
        TimezoneOffsetFromUTC=offset_of(now),
        InstanceCreationDate=date_of(now),
        InstanceCreationTime=time_of(now),
        SeriesDate=date_of(now),
        SeriesTime=time_of(now),
        Modality="RTSTRUCT",
        SeriesNumber=series_number(series_uid, numbers_taken([each.header for each in slices])),
        SeriesDescription=series_description(made_by),
        InstanceNumber=1,
        OperatorsName="",
        Manufacturer=MANUFACTURER,
        ManufacturerModelName=long_string(made_by.model),
        SoftwareVersions=VERSION,
        StructureSetLabel="SEGMENTATION",
        StructureSetName=series_description(made_by),
        StructureSetDate=date_of(now),
        StructureSetTime=time_of(now),
        ApprovalStatus="UNAPPROVED",
    )
    for name, value in patient_and_study(source).items():
        setattr(dataset, name, value)
    dataset.file_meta = library.dataset.FileMetaDataset()
    # Explicit lengths of numbers as text end at 64 kB, which is a contour of 2,000 points.
    dataset.file_meta.TransferSyntaxUID = library.uid.ImplicitVRLittleEndian
    return dataset


def _frame_of_reference(slices: Sequence[SourceSlice]) -> Dataset:
    first = slices[0].header
    files = {str(each.header.SOPInstanceUID): each for each in slices}.values()
    series = item(
        SeriesInstanceUID=first.SeriesInstanceUID,
        ContourImageSequence=[
            SourceSlice(each.header, None, each.plane).reference() for each in files
        ],
    )
    study = item(
        ReferencedSOPClassUID=STUDY_CLASS,
        ReferencedSOPInstanceUID=first.StudyInstanceUID,
        RTReferencedSeriesSequence=[series],
    )
    return item(FrameOfReferenceUID=first.FrameOfReferenceUID, RTReferencedStudySequence=[study])


def _structure(number: int, entry: ClassInfo, source: Dataset, made_by: MadeBy) -> Dataset:
    return item(
        ROINumber=number,
        ReferencedFrameOfReferenceUID=source.FrameOfReferenceUID,
        ROIName=long_string(entry.name),
        ROIDescription=long_string(f"{entry.name} by {made_by}"),
        ROIGenerationAlgorithm="AUTOMATIC",
        ROIGenerationDescription=long_string(str(made_by)),
        ROIDerivationAlgorithmIdentificationSequence=[algorithm_item(made_by)],
    )


def _observation(number: int, entry: ClassInfo) -> Dataset:
    code = code_item(type_of(entry))
    if entry.laterality is not None:
        code.SegmentedPropertyTypeModifierCodeSequence = [code_item(entry.laterality)]
    return item(
        ObservationNumber=number,
        ReferencedROINumber=number,
        RTROIInterpretedType="",
        ROIInterpreter="",
        SegmentedPropertyCategoryCodeSequence=[code_item(category_of(entry))],
        RTROIIdentificationCodeSequence=[code],
    )


def _contours(mask: Mask, slices: Sequence[SourceSlice]) -> dict[int, list[Dataset]]:
    """Of each class that is there, slice by slice."""
    contours: dict[int, list[Dataset]] = {}
    planes = mask.array if mask.dims == 3 else mask.array[np.newaxis]
    for labels, source in zip(planes, slices, strict=True):
        for index, polygon in outlines(labels):
            points = _in_patient(keyholed(polygon), source.plane)
            contour = item(
                ContourGeometricType="CLOSED_PLANAR",
                NumberOfContourPoints=len(points),
            )
            contour[CONTOUR_DATA] = _contour_data(points)
            contour.ContourImageSequence = [source.reference()]
            contours.setdefault(index, []).append(contour)
    return contours


def _contour_data(points: Float[np.ndarray, "points 3"]) -> Any:
    # As it stands in the file: pydicom would look at each number, which takes longer than the rest.
    library = pydicom()
    text = "\\".join(f"{mm:.{DECIMALS}f}" for mm in points.ravel().tolist())
    value = (text + " " * (len(text) % 2)).encode()
    return library.dataelem.RawDataElement(
        library.tag.Tag(CONTOUR_DATA), "DS", len(value), value, 0, True, True
    )


def _in_patient(ring: Float[np.ndarray, "points 2"], plane: Plane) -> Float[np.ndarray, "points 3"]:
    """LPS+ mm in the slice's own plane, which may lie a little beside that of an even grid.

    Whole numbers are the corners of pixels, whose centres the slice's position counts from.
    """
    assert plane.pixel is not None
    assert plane.axes is not None
    assert plane.position is not None
    rows_mm, columns_mm = plane.pixel
    along = (ring - 0.5) * (columns_mm, rows_mm)
    points: Float[np.ndarray, "points 3"] = plane.position + along @ plane.axes
    return points
