"""From masks to scores: of a case, and of a class over cases."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from seg.images import Mask, Spacing
from seg.metrics import (
    bootstrap_mean,
    confusion_matrix,
    dice_per_class,
    expected_calibration_error,
    iou_per_class,
    surface_scores,
)
from training.calibration import Counts
from training.regions import Region
from training.scores import MEASURES, Interval, RegionScore, Reliability, Summary

SEED = 0
"""Of the bootstrap."""


@dataclass(frozen=True, eq=False)
class Measured:
    """A region in one case."""

    score: RegionScore
    confusion: Int64[np.ndarray, "2 2"]
    reliability: Counts | None
    """None where the reference has none of the region."""


def measure_case(
    prediction: Mask,
    reference: Mask,
    regions: Mapping[str, Region],
    tolerance: float,
    calibration: Mapping[str, Counts],
) -> dict[str, Measured]:
    """All measures of every region, distances in mm, or in pixels where there is no spacing."""
    spacing = reference.spacing or (1.0,) * reference.dims
    return {
        name: measure_region(
            region.predicted(prediction.array, reference.array),
            region.referred(reference.array),
            spacing,
            tolerance,
            calibration.get(name),
        )
        for name, region in regions.items()
    }


def measure_region(
    prediction: Bool[np.ndarray, "*spatial"],
    reference: Bool[np.ndarray, "*spatial"],
    spacing: Spacing,
    tolerance: float,
    calibration: Counts | None = None,
) -> Measured:
    """All measures of one region.

    Args:
        prediction: where the model says that the region is.
        reference: where it is.
        spacing: of voxels, in the unit of the tolerance.
        tolerance: of surface Dice.
        calibration: how often the model's probabilities of the region came true.
    """
    confusion = confusion_matrix(prediction.astype(np.uint8), reference.astype(np.uint8), 2)
    predicted, referred = int(confusion[:, 1].sum()), int(confusion[1].sum())
    hd95, surface_dice = surface_scores(prediction, reference, spacing, tolerance)
    score = RegionScore(
        dice=_known(dice_per_class(confusion)[1]),
        iou=_known(iou_per_class(confusion)[1]),
        voxels_predicted=predicted,
        voxels_reference=referred,
        hd95=_known(hd95),
        surface_dice=_known(surface_dice),
        volume_error=(predicted - referred) / referred if referred else None,
        ece=calibration_error(calibration),
    )
    return Measured(score, confusion, calibration)


def calibration_error(counts: Counts | None) -> float | None:
    """Of counts that may be missing."""
    return None if counts is None else _known(expected_calibration_error(counts))


def summary_of_region(measured: Sequence[Measured], floors: Sequence[float]) -> Summary:
    """A region over all cases.

    Args:
        measured: one a case.
        floors: Dice of thresholding, one a case; NaN where it does not count.
    """
    scores = [each.score for each in measured]
    names = [measure.name for measure in MEASURES] + ["volume_error"]
    found = {name: interval_of([getattr(each, name) for each in scores]) for name in names}
    measures = {name: interval for name, interval in found.items() if interval}
    dice, iou = measures.get("dice"), measures.get("iou")
    pooled = np.sum([each.confusion for each in measured], axis=0)
    floor = interval_of(floors)
    return Summary(
        dice=dice.mean if dice else None,
        ci95=dice.ci95 if dice else None,
        iou=iou.mean if iou else None,
        dice_pooled=_known(dice_per_class(pooled)[1]),
        cases=dice.cases if dice else 0,
        floor=floor.mean if floor else None,
        measures=measures,
        missed=sum(bool(s.voxels_reference and not s.voxels_predicted) for s in scores),
        invented=sum(bool(s.voxels_predicted and not s.voxels_reference) for s in scores),
        reliability=_reliability([each.reliability for each in measured]),
    )


def interval_of(values: Sequence[float | None]) -> Interval | None:
    """The mean of those that are known, with its bootstrap interval; None where none is."""
    numbers = np.array([math.nan if value is None else value for value in values], np.float64)
    estimate = bootstrap_mean(numbers, np.random.default_rng(SEED))
    if not estimate.cases:
        return None
    return Interval(mean=estimate.mean, ci95=(estimate.low, estimate.high), cases=estimate.cases)


def _reliability(of_cases: Sequence[Counts | None]) -> Reliability | None:
    known = [counts for counts in of_cases if counts is not None]
    if not known:
        return None
    voxels, confidence, right = np.sum(known, axis=0)
    return Reliability(
        voxels=tuple(int(n) for n in voxels),
        confidence=_shares(confidence, voxels),
        accuracy=_shares(right, voxels),
    )


def _shares(
    part: Float64[np.ndarray, " bins"], whole: Float64[np.ndarray, " bins"]
) -> tuple[float | None, ...]:
    return tuple(float(p / w) if w else None for p, w in zip(part, whole, strict=True))


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
