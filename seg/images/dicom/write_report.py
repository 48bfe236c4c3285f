"""What goes into an archive beside a mask: measurements as a report, an overview as a picture.

Sources: DICOM PS3.16, TID 1500 and below; PS3.3, A.35.13 and A.8.4.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image as Picture

from seg.errors import UnsupportedImageError
from seg.images.dicom.file import Dataset
from seg.images.dicom.made import (
    UNNAMED,
    concept,
    draft,
    highdicom_library,
    numbers_taken,
    referring,
    remarks,
    run_uid,
    serial_number,
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
from seg.images.dicom.text import CHARACTER_SET, cleaned, moment
from seg.images.grid.classes import ClassInfo, Code
from seg.images.grid.codes import PRIVATE_CODES, category_of, long_string, type_of
from seg.images.grid.image import Image, Mask
from seg.images.grid.made_by import MadeBy
from seg.images.measures.tally import ClassTally, Tally
from seg.images.pictures.sheets import encode_overlay
from seg.version import VERSION

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
KIND_OF_FORMAT = {"dicom-seg": "BINARY", "dicom-labelmap": "LABELMAP"}
"""By formats that a report may refer to: the kind that names their objects in a run."""
CLASS_OF_FORMAT = {"dicom-seg": SEGMENTATION, "dicom-labelmap": "1.2.840.10008.5.1.4.1.1.66.7"}

VOLUME, AREA = Code(value="118565006", meaning="Volume"), Code(value="42798000", meaning="Area")
ATTENUATION = Code(value="112031", meaning="Attenuation Coefficient", scheme="DCM")
MEAN = Code(value="373098007", meaning="Mean")
PREDICTED_DICE = Code(
    value="PREDICTED_DICE", meaning="Dice coefficient predicted by the model", scheme=PRIVATE_CODES
)
COMMENT = Code(value="121106", meaning="Comment", scheme="DCM")
PROCEDURE = Code(value="363679005", meaning="Imaging procedure")
MILLILITRE = Code(value="ml", meaning="milliliter", scheme="UCUM")
SQUARE_MM = Code(value="mm2", meaning="square millimeter", scheme="UCUM")
HOUNSFIELD = Code(value="[hnsf'U]", meaning="Hounsfield unit", scheme="UCUM")
RATIO = Code(value="1", meaning="no units", scheme="UCUM")


def encode_dicom_sr(
    mask: Mask, classes: Sequence[ClassInfo], image: Image | None, made_by: MadeBy | None = None
) -> bytes:
    """Volumes (or areas), mean attenuation of CT and predicted Dice of each class, as TID 1500.

    A group of measurements refers to the segment of the DICOM SEG that is written of the same
    segmentation, where one is, and else to the images.

    Raises:
        ImageError: the image did not come from DICOM.
        UnsupportedImageError: a source that no report can refer to, or a spacing that is not known.
    """
    slices = source_slices(mask, image)
    made_by = made_by or UNNAMED
    header = slices[0].header
    if mask.voxel_extent is None:
        raise UnsupportedImageError(
            "a report of volumes needs the size of voxels, which these DICOM images do not say; "
            "take json or csv"
        )
    segmentation = next((each for each in made_by.beside if each in KIND_OF_FORMAT), None)
    with referring("a DICOM report cannot refer to", "csv"):
        groups = _groups(_Subject(mask, made_by, slices, segmentation), classes, image)
        evidence = [*_evidence(slices), *_segmentations(slices, made_by, segmentation)]
        report = _report(evidence, groups, made_by, header)
        content = io.BytesIO()
        report.save_as(content, enforce_file_format=True)
    return content.getvalue()


def encode_dicom_sc(
    mask: Mask, classes: Sequence[ClassInfo], image: Image | None, made_by: MadeBy | None = None
) -> bytes:
    """The overlay as a secondary capture, for archives whose viewers show no masks.

    Raises:
        ImageError: the image did not come from DICOM.
        UnsupportedImageError: a source that no picture can refer to.
    """
    slices = source_slices(mask, image)
    made_by = made_by or UNNAMED
    header = slices[0].header
    pixels = np.asarray(Picture.open(io.BytesIO(encode_overlay(mask, classes, image))))
    library = highdicom_library()
    series = run_uid(made_by, "SC series")
    known = patient_and_study(header)
    with referring("a secondary capture cannot be of", "overlay"):
        capture = library.sc.SCImage(
            pixel_array=pixels[..., :3],
            photometric_interpretation="RGB",
            bits_allocated=8,
            coordinate_system="PATIENT",
            study_instance_uid=str(header.StudyInstanceUID),
            series_instance_uid=series,
            series_number=series_number(series, numbers_taken([each.header for each in slices])),
            sop_instance_uid=run_uid(made_by, "SC"),
            instance_number=1,
            manufacturer=MANUFACTURER,
            patient_orientation=("L", "P"),
        )
        for name, value in known.items():
            setattr(capture, name, value)
        capture.SeriesDescription = long_string(
            f"{draft(made_by)}Overview by {made_by}, research use only"
        )
        capture.Modality = "OT"
        del capture.PatientOrientation  # a sheet of slices has none
        capture.PatientOrientation = ""
        capture.BurnedInAnnotation = "NO"
        capture.Laterality = ""  # what is shown may be both sides
        tell_the_time(capture, moment(header))
        content = io.BytesIO()
        capture.save_as(content, enforce_file_format=True)
    return content.getvalue()


def _report(
    evidence: Sequence[Dataset], groups: Sequence[Any], made_by: MadeBy, header: Dataset
) -> Any:
    library = highdicom_library()
    sr = library.sr
    observer = sr.ObserverContext(
        observer_type=concept(Code(value="121007", meaning="Device", scheme="DCM")),
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=run_uid(made_by, "observer"),
            name=long_string(str(made_by)),
            manufacturer_name=MANUFACTURER,
            model_name=long_string(made_by.model),
            serial_number=serial_number(made_by),
        ),
    )
    root = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=concept(PROCEDURE),
        imaging_measurements=groups,
    )
    series = run_uid(made_by, "SR series")
    report = sr.Comprehensive3DSR(
        evidence=evidence,
        content=root[0],
        series_instance_uid=series,
        series_number=series_number(series, numbers_taken([header])),
        sop_instance_uid=run_uid(made_by, "SR"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=not made_by.is_draft,
        series_description=long_string(
            f"{draft(made_by)}Measurements by {made_by}, research use only"
        ),
        manufacturer_model_name=long_string(made_by.model),
        software_versions=VERSION,
        device_serial_number=serial_number(made_by),
    )
    tell_the_time(report, moment(header))
    return report


@dataclass(frozen=True, slots=True)
class _Subject:
    """What a report is about."""

    mask: Mask
    made_by: MadeBy
    slices: Sequence[SourceSlice]
    segmentation: str | None
    """Format of the object whose segments are referred to; None refers to the images."""

    @property
    def header(self) -> Dataset:
        """Of the first image."""
        return self.slices[0].header


def _groups(subject: _Subject, classes: Sequence[ClassInfo], image: Image | None) -> list[Any]:
    tally = Tally(max(entry.index for entry in classes) + 1)
    tally.add(subject.mask.array, None if image is None else image.array)
    foreground = [entry for entry in classes if entry.index]
    return [
        _group(subject, entry, number, tally.classes[entry.index])
        for number, entry in enumerate(foreground, start=1)
    ]


def _group(subject: _Subject, entry: ClassInfo, number: int, found: ClassTally) -> Any:
    sr = highdicom_library().sr
    header, made_by, segmentation = subject.header, subject.made_by, subject.segmentation
    shared: Mapping[str, Any] = {
        "tracking_identifier": sr.TrackingIdentifier(
            uid=tracking_uid(entry, made_by, header),
            identifier=long_string(f"{entry.name} by {made_by}"),
        ),
        "finding_type": concept(type_of(entry)),
        "finding_category": concept(category_of(entry)),
        "finding_sites": [_site(entry)] if entry.laterality is not None else None,
        "algorithm_id": sr.AlgorithmIdentification(
            name=long_string(made_by.model), version=long_string(made_by.version or VERSION)
        ),
        "measurements": _measurements(subject, entry, found),
    }
    if segmentation is not None:
        group = sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
            referenced_segment=sr.ReferencedSegment(
                sop_class_uid=CLASS_OF_FORMAT[segmentation],
                sop_instance_uid=run_uid(made_by, KIND_OF_FORMAT[segmentation]),
                segment_number=number,
                source_series=sr.SourceSeriesForSegmentation(str(header.SeriesInstanceUID)),
            ),
            **shared,
        )
    else:
        group = sr.MeasurementsAndQualitativeEvaluations(
            source_images=[
                sr.SourceImageForMeasurementGroup(str(each.SOPClassUID), str(each.SOPInstanceUID))
                for each in _files(subject.slices)
            ],
            **shared,
        )
    for sentence in remarks(made_by, entry.name):
        comment = sr.TextContentItem(
            name=concept(COMMENT), value=sentence, relationship_type="CONTAINS"
        )
        group[0].ContentSequence.append(comment)
    return group


def _site(entry: ClassInfo) -> Any:
    assert entry.laterality is not None
    return highdicom_library().sr.FindingSite(
        concept(type_of(entry)), laterality=concept(entry.laterality)
    )


def _measurements(subject: _Subject, entry: ClassInfo, found: ClassTally) -> list[Any]:
    sr = highdicom_library().sr
    mask, made_by = subject.mask, subject.made_by
    assert mask.voxel_extent is not None
    extent = found.count * mask.voxel_extent
    size = (VOLUME, extent / 1000, MILLILITRE) if mask.dims == 3 else (AREA, extent, SQUARE_MM)
    rows: list[tuple[Code, float, Code, Code | None]] = [(*size, None)]
    if found.count and found.sums and cleaned(subject.header, "Modality") == "CT":
        rows.append((ATTENUATION, found.sums[0] / found.count, HOUNSFIELD, MEAN))
    if entry.name in made_by.predicted_dice:
        rows.append((PREDICTED_DICE, made_by.predicted_dice[entry.name], RATIO, None))
    return [
        sr.Measurement(
            name=concept(name),
            value=float(value),
            unit=concept(unit),
            derivation=None if derivation is None else concept(derivation),
        )
        for name, value, unit, derivation in rows
    ]


def _files(slices: Sequence[SourceSlice]) -> list[Dataset]:
    return list({str(each.header.SOPInstanceUID): each.header for each in slices}.values())


def _evidence(slices: Sequence[SourceSlice]) -> list[Dataset]:
    return [
        _named(each, str(each.SOPClassUID), str(each.SOPInstanceUID)) for each in _files(slices)
    ]


def _segmentations(
    slices: Sequence[SourceSlice], made_by: MadeBy, segmentation: str | None
) -> list[Dataset]:
    if segmentation is None:
        return []
    kind = KIND_OF_FORMAT[segmentation]
    found = _named(slices[0].header, CLASS_OF_FORMAT[segmentation], run_uid(made_by, kind))
    found.SeriesInstanceUID = run_uid(made_by, f"{kind} series")
    found.Modality = "SEG"
    return [found]


def _named(header: Dataset, sop_class: str, instance: str) -> Dataset:
    """As much of an object as a report takes from it."""
    return item(
        SpecificCharacterSet=CHARACTER_SET,
        SOPClassUID=sop_class,
        SOPInstanceUID=instance,
        StudyInstanceUID=str(header.StudyInstanceUID),
        SeriesInstanceUID=str(header.SeriesInstanceUID),
        Modality=cleaned(header, "Modality") or "OT",
        **patient_and_study(header),
    )
