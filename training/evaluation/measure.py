"""From masks to scores: of a case, and of a class over cases."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float64

from seg.images import Mask
from seg.images.grid.image import sheared_share
from seg.metrics import (
    bootstrap_mean,
    confusion_matrix,
    dice_per_class,
    expected_calibration_error,
    iou_per_class,
    same_outlines,
    surface_scores,
)
from seg.metrics.surface import Grid
from training.evaluation.object_scores import summaries_of
from training.evaluation.regions import Region
from training.evaluation.scores import (
    MEASURES,
    NOTHING_KNOWN,
    CaseScore,
    Evaluation,
    Interval,
    RegionScore,
    Reliability,
    Summary,
)
from training.evaluation.trust.reliability_meter import Counts

SEED = 0
"""Of the bootstrap."""


def predicted_regions(
    prediction: Mask, reference: Mask, regions: Mapping[str, Region]
) -> dict[str, Bool[np.ndarray, "*spatial"]]:
    """Where a mask shows each region, of the voxels that somebody annotated."""
    return {
        name: region.predicted(prediction.array, reference.array)
        for name, region in regions.items()
    }


def measure_case(  # noqa: PLR0913 - all that a case is measured by
    prediction: Mapping[str, Bool[np.ndarray, "*spatial"]],
    reference: Mask,
    regions: Mapping[str, Region],
    tolerance: float,
    calibration: Mapping[str, Counts],
    floors: Mapping[str, float],
    *,
    with_outlines: bool = True,
) -> dict[str, RegionScore]:
    """All measures of every region, distances in mm, or in pixels where there is no spacing."""
    steps = reference.steps
    grid: Grid = reference.spacing or (1.0,) * reference.dims
    if steps is not None and sheared_share(steps) < 1:
        grid = steps
    return {
        name: measure_region(
            prediction[name],
            region.referred(reference.array),
            grid,
            tolerance,
            calibration.get(name),
            with_outlines=with_outlines and not region.is_together,
        ).model_copy(update={"floor": _known(floors.get(name, math.nan))})
        for name, region in regions.items()
    }


def measure_region(
    prediction: Bool[np.ndarray, "*spatial"],
    reference: Bool[np.ndarray, "*spatial"],
    grid: Grid,
    tolerance: float,
    calibration: Counts | None = None,
    *,
    with_outlines: bool = True,
) -> RegionScore:
    """All measures of one region.

    Args:
        prediction: where the model says that the region is.
        reference: where it is.
        grid: the spacing, or the steps along the axes, in the unit of the tolerance.
        tolerance: of surface Dice.
        calibration: how often the model's probabilities of the region came true.
        with_outlines: count those that both masks share; nobody asks for them of several classes.
    """
    confusion = confusion_matrix(prediction.astype(np.uint8), reference.astype(np.uint8), 2)
    predicted, referred = int(confusion[:, 1].sum()), int(confusion[1].sum())
    hd95, surface_dice = surface_scores(prediction, reference, grid, tolerance)
    outlines, own = same_outlines(prediction, reference) if with_outlines else (0, 0)
    return RegionScore(
        dice=_known(dice_per_class(confusion)[1]),
        iou=_known(iou_per_class(confusion)[1]),
        voxels_predicted=predicted,
        voxels_reference=referred,
        hd95=_known(hd95),
        surface_dice=_known(surface_dice),
        volume_error=(predicted - referred) / referred if referred else None,
        ece=calibration_error(calibration),
        outlines=outlines,
        own_outlines=own,
    )


def calibration_error(counts: Counts | None) -> float | None:
    """Of counts that may be missing."""
    return None if counts is None else _known(expected_calibration_error(counts))


def evaluation_of(
    cases: Sequence[CaseScore],
    names: Sequence[str],
    calibration: Mapping[str, Counts],
    tolerance: float | None,
) -> Evaluation:
    """Cases and what they come to together.

    Args:
        cases: at least one.
        names: of the regions, in the order of the summary.
        calibration: by region, over all cases.
        tolerance: of surface Dice.
    """
    units = {case.unit for case in cases}
    return Evaluation(
        cases=tuple(cases),
        summary={
            name: summary_of_region(
                [score for case in cases if (score := case.region(name))],
                calibration.get(name),
                [case.group for case in cases if case.region(name)],
            )
            for name in names
        },
        tolerance=tolerance,
        unit=units.pop() if len(units) == 1 else "mm or pixels",
        ece=interval_of([case.ece for case in cases], [case.group for case in cases]),
        objects=summaries_of([case.objects for case in cases], [case.group for case in cases]),
    )


def summary_of_region(
    scores: Sequence[RegionScore],
    calibration: Counts | None = None,
    groups: Sequence[str] | None = None,
) -> Summary:
    """A region over all cases, each of which is of one of the groups where they are named."""
    names = [measure.name for measure in MEASURES] + ["volume_error", "floor"]
    found = {name: interval_of([getattr(each, name) for each in scores], groups) for name in names}
    measures = {name: interval for name, interval in found.items() if interval}
    dice, iou, floor = (measures.get(name) for name in ("dice", "iou", "floor"))
    voxels = sum(each.voxels_predicted + each.voxels_reference for each in scores)
    return Summary(
        dice=dice.mean if dice else None,
        ci95=(dice.ci95 or NOTHING_KNOWN) if dice else None,
        iou=iou.mean if iou else None,
        dice_pooled=2 * sum(each.hits for each in scores) / voxels if voxels else None,
        cases=dice.cases if dice else 0,
        floor=floor.mean if floor else None,
        measures=measures,
        missed=sum(bool(s.voxels_reference and not s.voxels_predicted) for s in scores),
        invented=sum(bool(s.voxels_predicted and not s.voxels_reference) for s in scores),
        reliability=_reliability(calibration),
    )


def merged(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Evaluations of different cases as one, e.g. those of folds.

    They must be of the same classes and tolerance.
    """
    calibration: dict[str, Counts] = {}
    for evaluation in evaluations:
        for name, summary in evaluation.summary.items():
            if summary.reliability:
                counts = _counts(summary.reliability)
                calibration[name] = calibration.get(name, np.zeros_like(counts)) + counts
    cases = [case for evaluation in evaluations for case in evaluation.cases]
    names = list(evaluations[0].summary)
    return evaluation_of(cases, names, calibration, evaluations[0].tolerance)


def interval_of(
    values: Sequence[float | None], groups: Sequence[str] | None = None
) -> Interval | None:
    """The mean of those that are known, with its bootstrap interval; None where none is.

    Args:
        values: of cases.
        groups: the subjects that they are of; None where each is of its own.
    """
    numbers = np.array([math.nan if value is None else value for value in values], np.float64)
    estimate = bootstrap_mean(numbers, np.random.default_rng(SEED), groups)
    if not estimate.cases:
        return None
    return Interval.of(estimate)


def _reliability(counts: Counts | None) -> Reliability | None:
    if counts is None:
        return None
    voxels, confidence, right = counts
    return Reliability(
        voxels=tuple(int(n) for n in voxels),
        confidence=_shares(confidence, voxels),
        accuracy=_shares(right, voxels),
    )


def _counts(reliability: Reliability) -> Counts:
    shares = [reliability.confidence, reliability.accuracy]
    rows = [
        [(share or 0) * n for share, n in zip(each, reliability.voxels, strict=True)]
        for each in shares
    ]
    return np.array([reliability.voxels, *rows], np.float64)


def _shares(
    part: Float64[np.ndarray, " bins"], whole: Float64[np.ndarray, " bins"]
) -> tuple[float | None, ...]:
    return tuple(float(p / w) if w else None for p, w in zip(part, whole, strict=True))


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
