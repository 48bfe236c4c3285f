"""What ImageJ's numbers stand for. Letters: ``c`` channels.

ImageJ keeps 8 and 16 bits without a sign and says in its header how measured values follow from
them: signed numbers of 16 bits are stored with 32768 added, for one.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Real

from seg.errors import UnsupportedImageError

POLYNOMIALS = range(4)
"""Of ImageJ's curves (``cf``): a straight line, and polynomials up to the fourth degree."""
UNCALIBRATED = (20, None)
"""Values of ``cf`` that say nothing. Source: ij.measure.Calibration and CurveFitter of ImageJ."""


def calibrated(
    stored: Real[np.ndarray, "c *spatial"], metadata: Mapping[str, object]
) -> Real[np.ndarray, "c *spatial"]:
    """The values that the numbers stand for.

    Whole numbers where they are only shifted, else float32.

    Raises:
        UnsupportedImageError: they follow a curve that is not a polynomial.
    """
    curve = metadata.get("cf")
    if curve in UNCALIBRATED or "c0" not in metadata:
        return stored
    if not isinstance(curve, int) or curve not in POLYNOMIALS:
        raise UnsupportedImageError(
            f"the ImageJ TIFF's values follow a calibration curve (cf={curve}), which is not read; "
            "save it in ImageJ as 32 bits, which holds the calibrated values"
        )
    coefficients = [_number(metadata.get(f"c{n}", 0)) for n in range(curve + 2)]
    offset, slope, *further = coefficients
    if slope == 1 and offset == round(offset) and not any(further):
        return _shifted(stored, int(offset))
    values = np.zeros(stored.shape, np.float32)
    for coefficient in reversed(coefficients):
        values *= stored
        values += np.float32(coefficient)
    return values


def _number(value: object) -> float:
    try:
        return float(str(value))
    except ValueError as error:
        raise UnsupportedImageError(
            "the ImageJ TIFF's calibration (c0, c1) is no number; save it anew"
        ) from error


def _shifted(stored: Real[np.ndarray, "..."], offset: int) -> Real[np.ndarray, "..."]:
    """In the smallest type that holds whatever can be stored."""
    if offset == 0:
        return stored
    high = int(np.iinfo(stored.dtype).max) + offset
    kinds = (np.uint8, np.int16, np.uint16, np.int32, np.int64)
    kind = next(k for k in kinds if np.iinfo(k).min <= offset and high <= np.iinfo(k).max)
    return (stored.astype(np.int64) + offset).astype(kind)
