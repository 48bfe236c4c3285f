"""Masks as DICOM SEG objects, through highdicom.

highdicom asks more of the source images than viewers do, and copies what they hold. So it is given
images that say only what a SEG needs, as the standard has it, and their names are put right after.
"""

import io
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any, Literal

import imagecodecs
import numpy as np
from jaxtyping import UInt8, UInt16

from seg.errors import UnsupportedImageError
from seg.images.dicom.file import Dataset, pydicom, translated
from seg.images.dicom.made import (
    UNNAMED,
    algorithm_item,
    code_item,
    concept,
    highdicom_library,
    numbers_taken,
    referring,
    remarks,
    run_uid,
    serial_number,
    series_description,
    series_number,
    tell_the_time,
    tracking_uid,
)
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
    moment,
)
from seg.images.grid.classes import ClassInfo
from seg.images.grid.codes import LONG_STRING, category_of, long_string, plain, type_of
from seg.images.grid.image import Image, Mask
from seg.images.grid.made_by import MadeBy
from seg.version import VERSION

CT, SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.7"
"""SOP classes of images with a position and without, whatever they really are."""

RLE = "1.2.840.10008.1.2.5"
RLE_HEADER_BYTES = 64

LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")

Kind = Literal["BINARY", "LABELMAP"]
MOST_SEGMENTS = 2**16 - 1


def encode_dicom_seg(
    mask: Mask,
    classes: Sequence[ClassInfo],
    image: Image | None,
    made_by: MadeBy | None = None,
    kind: Kind = "BINARY",
) -> bytes:
    """A segmentation with a segment for each class but background, whether it is there.

    Segments are numbered from 1 in the order of the classes and refer to the source images;
    frames without a voxel are left out, unless all are empty.

    Args:
        mask: What is written.
        classes: Of the mask.
        image: That was segmented.
        made_by: What made it.
        kind: One bit plane a segment, or one plane of segment numbers for all, run by run.

    Raises:
        ImageError: the image did not come from DICOM.
        UnsupportedImageError: a source that no segmentation can refer to.
    """
    foreground = [entry for entry in classes if entry.index]
    numbers = np.zeros(max(entry.index for entry in classes) + 1, np.uint8)
    numbers[[entry.index for entry in foreground]] = np.arange(1, len(foreground) + 1)
    return _encode(replace(mask, array=numbers[mask.array]), foreground, image, made_by, kind)


def encode_dicom_objects(
    numbers: Mask,
    segments: Sequence[ClassInfo],
    image: Image | None,
    made_by: MadeBy | None = None,
    kind: Kind = "BINARY",
) -> bytes:
    """A segmentation with a segment for each object.

    Args:
        numbers: Of the objects, from 1.
        segments: Name, colour and codes of each, object 1 first.
        image: That was segmented.
        made_by: What found the objects.
        kind: As of ``encode_dicom_seg``.

    Raises:
        ImageError: the image did not come from DICOM.
        UnsupportedImageError: there are no objects, or too many, or as above.
    """
    if not segments:
        raise UnsupportedImageError(
            "a DICOM SEG has one segment at least, and no object was found; ask for instances"
        )
    if len(segments) > MOST_SEGMENTS:
        raise UnsupportedImageError(
            f"a DICOM SEG has room for {MOST_SEGMENTS} objects, these are {len(segments)}; "
            "ask for instances"
        )
    kind_of_number = np.uint8 if len(segments) <= np.iinfo(np.uint8).max else np.uint16
    planes = replace(numbers, array=numbers.array.astype(kind_of_number))
    return _encode(planes, segments, image, made_by, kind)


def _encode(
    mask: Mask,
    segments: Sequence[ClassInfo],
    image: Image | None,
    made_by: MadeBy | None,
    kind: Kind,
) -> bytes:
    """Of a mask of segment numbers."""
    slices = source_slices(mask, image)
    _check_places(mask, slices)
    highdicom = highdicom_library()
    made_by = made_by or UNNAMED
    planes = mask.array if mask.dims == 3 else mask.array[np.newaxis]
    header = slices[0].header
    series_uid, now = run_uid(made_by, f"{kind} series"), moment(header)
    taken = numbers_taken([each.header for each in slices])
    with referring("a DICOM SEG cannot refer to", "nifti or nrrd"):
        segmentation = highdicom.seg.Segmentation(
            source_images=_surrogates(slices),
            pixel_array=planes,
            segmentation_type=kind,
            segment_descriptions=[
                _description(number, entry, made_by, header)
                for number, entry in enumerate(segments, start=1)
            ],
            series_instance_uid=series_uid,
            series_number=series_number(series_uid, taken),
            series_description=series_description(made_by),
            sop_instance_uid=run_uid(made_by, kind),
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=long_string(made_by.model),
            software_versions=VERSION,
            device_serial_number=serial_number(made_by),
            content_label="SEGMENTATION",
            content_description=series_description(made_by),
        )
        tell_the_time(segmentation, now)
        _tell_the_step(segmentation, mask, slices)
        _name_the_sources(segmentation, slices)
        if not slices[0].plane.is_placed:
            segmentation.PatientOrientation = cleaned(header, "PatientOrientation")
        if kind == "LABELMAP":
            _compress(segmentation)
        content = io.BytesIO()
        segmentation.save_as(content)
    return content.getvalue()


encode_dicom_labelmap = partial(encode_dicom_seg, kind="LABELMAP")
"""The same as a label map: a fraction of the size where there are many classes."""


def _check_places(mask: Mask, slices: Sequence[SourceSlice]) -> None:
    if mask.dims == 2:
        return
    first = slices[0].plane
    values = {
        "ImagePositionPatient": first.position,
        "ImageOrientationPatient": first.axes,
        "PixelSpacing": first.pixel,
    }
    missing = [name for name, value in values.items() if value is None]
    if missing:
        raise UnsupportedImageError(
            "the slices of a DICOM SEG lie in the patient, and these images lack "
            f"{', '.join(missing)}; take nifti or nrrd"
        )


def _surrogates(slices: Sequence[SourceSlice]) -> list[Dataset]:
    """An image of one frame for each slice, with no more than a SEG takes from its sources."""
    first = slices[0]
    with translated():
        shared = patient_and_study(first.header) | {
            "StudyInstanceUID": str(first.header.StudyInstanceUID),
            "SeriesInstanceUID": str(first.header.SeriesInstanceUID),
            "Rows": int(first.header.Rows),
            "Columns": int(first.header.Columns),
            "Modality": cleaned(first.header, "Modality") or "OT",
        }
        shared |= {name: value for name in LOSSY if (value := cleaned(first.header, name))}
        is_placed = first.plane.is_placed and bool(first.header.get("FrameOfReferenceUID"))
        if is_placed:
            shared["FrameOfReferenceUID"] = str(first.header.FrameOfReferenceUID)
            shared["PositionReferenceIndicator"] = cleaned(
                first.header, "PositionReferenceIndicator"
            )
            assert first.plane.axes is not None
            # one for all: those of a series differ by what its scanner rounds
            shared["ImageOrientationPatient"] = _decimals(first.plane.axes.ravel())
        if first.plane.pixel is not None:
            shared["PixelSpacing"] = _decimals(first.plane.pixel)
            shared["SliceThickness"] = _decimals([_thickness(slices)])[0]
    surrogates = []
    for number, each in enumerate(slices):
        surrogate = item(
            SpecificCharacterSet=CHARACTER_SET,
            SOPClassUID=CT if is_placed else SECONDARY_CAPTURE,
            SOPInstanceUID=_surrogate_uid(number),
            **shared,
        )
        if is_placed:
            assert each.plane.position is not None
            surrogate.ImagePositionPatient = _decimals(each.plane.position)
        surrogates.append(surrogate)
    return surrogates


def _surrogate_uid(number: int) -> str:
    return f"2.25.{number + 1}"


def _decimals(numbers: Any) -> list[Any]:
    """Values of DS, in 16 characters."""
    library = pydicom()
    return [library.valuerep.DSfloat(float(number), auto_format=True) for number in numbers]


def _thickness(slices: Sequence[SourceSlice]) -> float:
    """What the file says, or else the distance of the slices, or of the pixels."""
    plane = slices[0].plane
    assert plane.pixel is not None
    return plane.thickness or _step(slices) or plane.pixel[0]


def _step(slices: Sequence[SourceSlice]) -> float | None:
    """Mean distance of neighbouring slices along their normal, in mm."""
    first, last = slices[0].plane, slices[-1].plane
    if len(slices) < 2 or first.position is None or last.position is None:
        return None
    return abs(float((last.position - first.position) @ first.normal)) / (len(slices) - 1)


def _description(number: int, entry: ClassInfo, made_by: MadeBy, source: Dataset) -> Dataset:
    highdicom = highdicom_library()
    code = type_of(entry)
    found = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=long_string(entry.name),
        segmented_property_category=concept(category_of(entry)),
        segmented_property_type=concept(code),
        algorithm_type="AUTOMATIC",
        algorithm_identification=highdicom.AlgorithmIdentificationSequence.from_sequence(
            pydicom().Sequence([algorithm_item(made_by)])
        ),
        tracking_id=long_string(f"{entry.name} by {made_by}"),
        tracking_uid=tracking_uid(entry, made_by, source),
        display_color=highdicom.color.CIELabColor.from_rgb(*entry.color),
    )
    if entry.laterality is not None:
        found.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [
            code_item(entry.laterality)
        ]
    name = [plain(entry.name)] if len(plain(entry.name)) > LONG_STRING else []
    found.SegmentDescription = plain("; ".join([*name, *remarks(made_by, entry.name)]))[:1024]
    return found


def _tell_the_step(segmentation: Any, mask: Mask, slices: Sequence[SourceSlice]) -> None:
    """Say how far slices lie apart, so that those left out can be told, also of uneven ones."""
    step = _step(slices)
    measures = segmentation.SharedFunctionalGroupsSequence[0].get("PixelMeasuresSequence")
    if mask.dims == 3 and measures and step:
        measures[0].SpacingBetweenSlices = _decimals([step])[0]


def _name_the_sources(segmentation: Any, slices: Sequence[SourceSlice]) -> None:
    """Put the real images in place of the surrogates."""
    real = {_surrogate_uid(number): each for number, each in enumerate(slices)}
    for group in segmentation.PerFrameFunctionalGroupsSequence:
        for derivation in group.get("DerivationImageSequence", ()):
            for source in derivation.SourceImageSequence:
                each = real.get(str(source.ReferencedSOPInstanceUID))
                if each is not None:  # items are shared by the segments of a slice
                    source.update(each.reference())
    files = list({str(each.header.SOPInstanceUID): each for each in slices}.values())
    references = [SourceSlice(each.header, None, each.plane).reference() for each in files]
    segmentation.SourceImageSequence = references
    segmentation.ReferencedSeriesSequence = [
        item(
            SeriesInstanceUID=slices[0].header.SeriesInstanceUID,
            ReferencedInstanceSequence=references,
        )
    ]


def _compress(segmentation: Any) -> None:
    """Runs in place of voxels: what every reader of DICOM decodes, and a hundredth of the size."""
    shape = (segmentation.NumberOfFrames, segmentation.Rows, segmentation.Columns)
    stored = np.dtype(np.uint8 if segmentation.BitsAllocated == 8 else "<u2")
    frames = np.frombuffer(segmentation.PixelData, stored, prod(shape)).reshape(shape)
    segmentation.PixelData = pydicom().encaps.encapsulate([_rle(frame) for frame in frames])
    segmentation["PixelData"].VR = "OB"
    segmentation["PixelData"].is_undefined_length = True
    segmentation.file_meta.TransferSyntaxUID = pydicom().uid.UID(RLE)


def _rle(plane: UInt8[np.ndarray, "y x"] | UInt16[np.ndarray, "y x"]) -> bytes:
    """A frame as a segment of PackBits for each byte of its numbers, the highest first.

    Source: DICOM PS3.5, annex G.
    """
    size = plane.dtype.itemsize
    octets = plane.astype(f">u{size}").view(np.uint8).reshape(*plane.shape, size)
    parts = [imagecodecs.packbits_encode(np.ascontiguousarray(octets[..., n])) for n in range(size)]
    parts = [part + b"\0" * (len(part) % 2) for part in parts]
    header = np.zeros(RLE_HEADER_BYTES // 4, "<u4")
    header[0] = size
    header[1 : size + 1] = RLE_HEADER_BYTES + np.cumsum([0, *map(len, parts[:-1])])
    return header.tobytes() + b"".join(parts)
