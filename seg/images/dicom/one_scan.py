"""Whether the slices of a series are of one scan: of one patient, and of one kind of picture.

A SeriesInstanceUID should say so. Anonymisers give one to several patients, and scanners put the
echoes, moments and reconstructions of a scan into one series: where they lie between each other
they would make a volume that was never there.
"""

from collections.abc import Sequence
from typing import Any

from seg.errors import ImageError
from seg.images.dicom.file import Dataset
from seg.images.dicom.pixels.scale import Scale
from seg.images.dicom.planes import functional

IDENTITY = {
    "PatientID": "patients",
    "StudyInstanceUID": "studies",
    "FrameOfReferenceUID": "frames of reference, so that nothing says how they lie to each other",
    "Modality": "modalities",
}
"""What is one in a series. Source: DICOM PS3.3, A.1.2.3 and C.7.4.1."""

KIND = {
    "EchoTime": "echo times",
    "EchoNumbers": "echoes",
    "DiffusionBValue": "b values",
    "TemporalPositionIdentifier": "moments",
    "ComplexImageComponent": "parts of a complex image",
    "ConvolutionKernel": "reconstructions",
}
"""What differs between the volumes that scanners put into one series."""

KIND_OF_FRAMES = {
    ("FrameContentSequence", "StackID"): "stacks",
    ("FrameContentSequence", "TemporalPositionIndex"): "moments",
    ("MREchoSequence", "EffectiveEchoTime"): "echo times",
    ("MRDiffusionSequence", "DiffusionBValue"): "b values",
    ("MRImageFrameTypeSequence", "ComplexImageComponent"): "parts of a complex image",
}
"""The same of frames in one file, by the functional group. Source: DICOM PS3.3, C.7.6.16."""

DIGITS = 2
"""Of a number that are compared: echo times of one scan differ in later ones."""

RESCALE = ("RescaleSlope", "RescaleIntercept")


def check_one_scan(headers: Sequence[Dataset]) -> None:
    """Whether slices may make a volume, as far as what they say of themselves goes.

    What only some of them say tells nothing, but for how their numbers are scaled.

    Raises:
        ImageError: they are of several patients, studies, echoes, moments, ...
    """
    for name, what in (IDENTITY | KIND).items():
        values = {_value(header.get(name)) for header in headers} - {""}
        if len(values) > 1:
            raise ImageError(
                f"the DICOM slices are of {len(values)} {what} ({name}); send those of one"
            )
    silent = [header for header in headers if all(_value(header.get(n)) == "" for n in RESCALE)]
    if 0 < len(silent) < len(headers) and any(Scale.of(each) != Scale() for each in headers):
        raise ImageError(
            f"{len(silent)} of {len(headers)} DICOM slices do not say how their numbers are scaled "
            "(RescaleSlope, RescaleIntercept), and the others do; send the series as it came from "
            "the scanner"
        )


def check_one_volume(header: Dataset, frames: int) -> None:
    """Whether the frames of a file may make a volume.

    Raises:
        ImageError: they are of several stacks, moments, echoes, ..., or more or fewer than told.
    """
    groups = header.get("PerFrameFunctionalGroupsSequence")
    if not groups:
        return
    if len(groups) != frames:
        raise ImageError(
            f"the DICOM file announces {frames} frames and describes {len(groups)}; send the file "
            "as it came from the scanner"
        )
    for (group, name), what in KIND_OF_FRAMES.items():
        each = (functional(header, frame, group).get(name) for frame in range(frames))
        values = {_value(value) for value in each} - {""}
        if len(values) > 1:
            raise ImageError(
                f"the frames of the DICOM file are of {len(values)} {what} ({name}); send those of "
                "one"
            )


def _value(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):  # DS and FD are floats
        return f"{float(value):.{DIGITS}g}"
    return str(value).strip()
