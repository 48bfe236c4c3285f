"""From stored numbers to measured ones, and the type that holds them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seg.errors import ImageError
from seg.images.dicom.file import Dataset
from seg.images.dicom.pixels.layout import PALETTE, PixelLayout
from seg.images.dicom.planes import functional


@dataclass(frozen=True, slots=True)
class Scale:
    """From stored numbers to measured ones."""

    slope: float = 1.0
    intercept: float = 0.0

    @classmethod
    def of(cls, header: Dataset, frame: int = 0) -> "Scale":
        """Rescale slope and intercept (to Hounsfield in CT), or the scaling of a dose.

        Raises:
            ImageError: they are no finite numbers.
        """
        values = functional(header, frame, "PixelValueTransformationSequence")
        slope = values.get("RescaleSlope") or header.get("DoseGridScaling") or 1.0
        scale = cls(float(slope), float(values.get("RescaleIntercept") or 0.0))
        if not np.isfinite([scale.slope, scale.intercept]).all():
            raise ImageError("the DICOM rescale slope or intercept is not finite; repair it")
        return scale


def scales_of(header: Dataset, frames: int) -> list[Scale]:
    """One of each frame; the same where the file says nothing of single frames.

    Raises:
        ImageError: as of `Scale.of`.
    """
    if "PerFrameFunctionalGroupsSequence" not in header:
        return [Scale.of(header)] * frames
    return [Scale.of(header, frame) for frame in range(frames)]


def unscaled(header: Dataset) -> tuple[str, ...]:
    """What is to be said of a CT whose header does not tell its numbers' scale."""
    scale = functional(header, 0, "PixelValueTransformationSequence")
    is_told = any(each.get("RescaleIntercept") not in (None, "") for each in (header, scale))
    if header.get("Modality") != "CT" or is_told or "ModalityLUTSequence" in header:
        return ()
    return (
        "the DICOM header of this CT does not say how its numbers are scaled (RescaleIntercept), "
        "so they were taken as Hounsfield units; if air is not near -1000, the mask is wrong",
    )


def value_type(layout: PixelLayout, header: Dataset, scales: Sequence[Scale]) -> np.dtype[Any]:
    """The smallest type that holds the values of all slices."""
    if layout.channels == 3:
        if layout.photometric == PALETTE:
            return np.dtype(np.uint8)
        return layout.stored
    if "ModalityLUTSequence" in header:
        return np.dtype(np.float32)
    if layout.stored.kind == "f" or all(scale == Scale() for scale in scales):
        return layout.stored
    intercepts = [scale.intercept for scale in scales]
    if all(scale.slope == 1 for scale in scales) and all(i.is_integer() for i in intercepts):
        low, high = layout.range
        ends = int(low + min(intercepts)), int(high + max(intercepts))
        for kind in (np.int16, np.int32):
            if np.iinfo(kind).min <= ends[0] and ends[1] <= np.iinfo(kind).max:
                return np.dtype(kind)
    return np.dtype(np.float32 if layout.stored.itemsize <= 2 else np.float64)
