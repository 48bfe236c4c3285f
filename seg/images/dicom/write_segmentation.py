"""Masks as DICOM SEG objects, through highdicom."""

import io
import logging
import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Integer

from seg.errors import UnsupportedImageError
from seg.images.dicom.file import Dataset, pydicom
from seg.images.dicom.source import MANUFACTURER, SERIES_NUMBER, source_frames, source_headers
from seg.images.grid.classes import ClassInfo
from seg.images.grid.image import Image, Mask
from seg.images.storage.files import PARSING_ERRORS
from seg.version import version_of

LONG_STRING = 64
"""Characters of a DICOM name at most."""

PRIVATE_CODES = "99SEG"
"""Coding scheme of classes, which are not SNOMED's: the code is the class index."""


def encode_dicom_seg(mask: Mask, classes: Sequence[ClassInfo], image: Image | None) -> bytes:
    """A binary segmentation with a segment for each class but background, whether it is there.

    Segments are numbered from 1 in the order of the classes and refer to the source images;
    frames without a voxel are left out, unless all are empty.

    Raises:
        ImageError: the image did not come from DICOM.
        UnsupportedImageError: a source that no segmentation can refer to.
    """
    headers = source_headers(mask, image)
    highdicom = _highdicom()
    foreground = [entry for entry in classes if entry.index]
    numbers = np.zeros(max(entry.index for entry in classes) + 1, np.uint8)
    numbers[[entry.index for entry in foreground]] = np.arange(1, len(foreground) + 1)
    try:
        segmentation = highdicom.seg.Segmentation(
            source_images=headers,
            pixel_array=numbers[_in_file_order(mask, headers)],
            segmentation_type="BINARY",
            segment_descriptions=[
                _description(highdicom, number, entry)
                for number, entry in enumerate(foreground, start=1)
            ],
            series_instance_uid=highdicom.UID(),
            series_number=SERIES_NUMBER,
            series_description="Segmentation",
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=MANUFACTURER,
            software_versions=version_of(),
            device_serial_number="1",
            content_label="SEGMENTATION",
        )
        content = io.BytesIO()
        segmentation.save_as(content)
    except PARSING_ERRORS as error:
        raise UnsupportedImageError(
            "a DICOM SEG cannot refer to these DICOM images, an attribute is missing or not as "
            f"the standard has it ({type(error).__name__}); take nifti or nrrd"
        ) from error
    return content.getvalue()


def _in_file_order(mask: Mask, headers: Sequence[Dataset]) -> Integer[np.ndarray, "frames y x"]:
    planes = mask.array if mask.dims == 3 else mask.array[np.newaxis]
    frames = [frame for _, frame in source_frames(mask, headers) if frame is not None]
    return planes[np.argsort(frames)] if frames else planes


@cache
def _highdicom() -> Any:
    """The library, silenced: its remarks quote the patient's name."""
    pydicom()
    import highdicom

    logging.getLogger("highdicom").setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", module=r"highdicom(\.|$)")
    return highdicom


def _description(highdicom: Any, number: int, entry: ClassInfo) -> Dataset:
    codes = pydicom().sr.codedict.codes
    name = entry.name[:LONG_STRING]
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=highdicom.sr.CodedConcept(str(entry.index), PRIVATE_CODES, name),
        algorithm_type="AUTOMATIC",
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=MANUFACTURER,
            version=version_of(),
            family=codes.DCM.ArtificialIntelligence,
        ),
        display_color=highdicom.color.CIELabColor.from_rgb(*entry.color),
    )
