"""How probable an object is, and how many there really are."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from jaxtyping import Float32, Float64
from scipy.special import stdtrit

from seg.model_package import CountCalibration, ScoreCalibration

CONFIDENCE = 0.95
PRIOR_IMAGES = 3
"""Images that the spread of a calibration counts for before any was looked at."""


@dataclass(frozen=True, slots=True)
class Count:
    """Objects that were found, and between which numbers the true one is thought to lie."""

    found: int
    interval: tuple[int, int] | None = None
    """At 95 %; None where the model has no calibration."""


def probabilities_of_objects(
    scores: Float64[np.ndarray, " n"], calibration: ScoreCalibration | None
) -> Float32[np.ndarray, " n"]:
    """Of being right: sharing more than half of its union with a true one. NaN if not known."""
    if calibration is None:
        return np.full(len(scores), np.nan, np.float32)
    said = np.interp(scores, calibration.scores, calibration.probabilities)
    return np.asarray(said, np.float32)


def count_of(counted: int, calibration: CountCalibration | None) -> Count:
    """The number of objects with its interval.

    Student's t around the expected number; its variance is what varies within an image, of which
    many tiles tell, and what varies from one image to the next, of which few images do. How much
    is known of the sum lies between.

    Source: Satterthwaite, An approximate distribution of estimates of variance components,
    Biometrics Bulletin 2 (1946).
    """
    if calibration is None:
        return Count(counted)
    expected = calibration.ratio * counted
    within = calibration.dispersion * max(expected, 1.0)
    between = (calibration.spread * expected) ** 2
    freedom: float = calibration.images + PRIOR_IMAGES - 1
    if calibration.tiles is not None and within + between > 0:
        of_tiles, of_images = within**2 / (calibration.tiles - 1), between**2 / freedom
        freedom = (within + between) ** 2 / (of_tiles + of_images)
    quantile = float(stdtrit(freedom, (1 + CONFIDENCE) / 2))
    half = quantile * sqrt(within + between)
    return Count(counted, (max(0, int(np.floor(expected - half))), int(np.ceil(expected + half))))
