"""``metrics.json``: scores of cases and of classes over cases, out of confusion matrices."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int64
from pydantic import BaseModel, ConfigDict

from seg.metrics import bootstrap_mean, dice_per_class, iou_per_class

SEED = 0
"""Of the bootstrap."""


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RegionScore(_Data):
    """One class, or all foreground classes together, in one case.

    ``dice`` and ``iou`` are None where neither mask has the class: such a case counts in no mean.
    """

    dice: float | None
    iou: float | None
    voxels_predicted: int
    voxels_reference: int


class CaseScore(_Data):
    """One case."""

    case: str
    classes: dict[str, RegionScore]
    """The foreground classes by name."""
    foreground: RegionScore | None = None
    """All foreground classes together, where there is more than one."""

    @property
    def mean_dice(self) -> float | None:
        """Mean over the classes that count in this case."""
        counted = [each.dice for each in self.classes.values() if each.dice is not None]
        return sum(counted) / len(counted) if counted else None


class Summary(_Data):
    """One class, or all foreground classes together, over all cases."""

    dice: float | None
    """Mean over cases."""
    ci95: tuple[float, float] | None
    """Bootstrap interval of ``dice`` over cases."""
    iou: float | None
    """Mean over cases."""
    dice_pooled: float | None
    """Dice over the voxels of all cases, as if they were one image."""
    cases: int
    """Cases that count."""
    floor: float | None
    """Mean Dice of plain thresholding on those of the cases whose reference has the class."""


class Evaluation(_Data):
    """``metrics.json``."""

    cases: tuple[CaseScore, ...]
    summary: dict[str, Summary]
    """By class, then ``foreground`` where there is more than one class."""

    @property
    def ranked(self) -> list[CaseScore]:
        """The cases with a score, worst first."""
        scored = [(case.mean_dice, case) for case in self.cases]
        known = [(score, case) for score, case in scored if score is not None]
        return [case for _, case in sorted(known, key=lambda pair: pair[0])]


def score_of_case(
    name: str, confusion: Mapping[str, Int64[np.ndarray, "2 2"]], together: str | None
) -> CaseScore:
    """Scores of a case out of one matrix a region; ``together`` is the region of all classes."""
    scores = {region: _region_score(matrix) for region, matrix in confusion.items()}
    foreground = scores.pop(together) if together else None
    return CaseScore(case=name, classes=scores, foreground=foreground)


def _region_score(confusion: Int64[np.ndarray, "2 2"]) -> RegionScore:
    return RegionScore(
        dice=_known(dice_per_class(confusion)[1]),
        iou=_known(iou_per_class(confusion)[1]),
        voxels_predicted=int(confusion[:, 1].sum()),
        voxels_reference=int(confusion[1].sum()),
    )


def summary_of_region(
    confusions: Sequence[Int64[np.ndarray, "2 2"]], floors: Sequence[float]
) -> Summary:
    """A region over all cases.

    Args:
        confusions: one matrix a case.
        floors: Dice of thresholding, one a case; NaN where it does not count.
    """
    dice = np.array([dice_per_class(each)[1] for each in confusions])
    iou = np.array([iou_per_class(each)[1] for each in confusions])
    estimate = bootstrap_mean(dice, np.random.default_rng(SEED))
    return Summary(
        dice=_known(estimate.mean),
        ci95=(estimate.low, estimate.high) if estimate.cases else None,
        iou=_mean_of_known(iou),
        dice_pooled=_known(dice_per_class(np.sum(confusions, axis=0))[1]),
        cases=estimate.cases,
        floor=_mean_of_known(np.array(floors)),
    )


def _mean_of_known(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else None


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
