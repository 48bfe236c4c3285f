"""How well doubts, told by several passes of a network, point at its errors.

Sources: Geifman & El-Yaniv, Selective classification for deep neural networks, NeurIPS 2017
(risk and coverage); Guo et al., On calibration of modern neural networks, ICML 2017 (ECE,
temperature).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import rankdata

from seg.metrics.calibration import expected_calibration_error, reliability
from seg.metrics.predicted_dice import expected_dice

TEMPERATURES = (0.2, 5.0)
LEAST = 1e-7
"""Of a probability whose logarithm is taken."""


@dataclass(frozen=True, eq=False)
class Seen:
    """A case as one way sees it; voxels that nobody has annotated are left out."""

    mean: np.ndarray
    """Probabilities, (classes, voxels)."""
    disagreement: np.ndarray | None
    truth: np.ndarray
    agreement: np.ndarray
    """Mean Dice of each pass's mask with that of all, by class."""
    dice: np.ndarray
    """Of the mask of all with the truth, by class."""


def calibration(seen: Sequence[Seen]) -> tuple[float, float]:
    """ECE, raw and with a temperature chosen on the other cases."""
    raw = sum(_counts(each, 1.0) for each in seen)
    tempered = np.zeros_like(raw)
    for number, each in enumerate(seen):
        others = [other for at, other in enumerate(seen) if at != number]
        tempered += _counts(each, _temperature(others))
    return expected_calibration_error(raw), expected_calibration_error(tempered)


def _sharpened(mean: np.ndarray, temperature: float) -> np.ndarray:
    scaled = np.log(np.maximum(mean, LEAST)) / temperature
    return np.exp(scaled - np.logaddexp.reduce(scaled, axis=0))


def _counts(seen: Seen, temperature: float) -> np.ndarray:
    probabilities = _sharpened(seen.mean, temperature)
    return reliability(probabilities.max(axis=0), probabilities.argmax(axis=0) == seen.truth)


def _temperature(seen: Sequence[Seen]) -> float:
    mean = np.concatenate([each.mean[:, ::7] for each in seen], axis=1)
    truth = np.concatenate([each.truth[::7] for each in seen])

    def surprise(log_temperature: float) -> float:
        told = _sharpened(mean, np.exp(log_temperature))
        right = np.take_along_axis(told, truth[None].astype(np.intp), axis=0)
        return float(-np.log(np.maximum(right, LEAST)).mean())

    found = minimize_scalar(surprise, bounds=np.log(TEMPERATURES), method="bounded")
    return float(np.exp(found.x))


def risk_coverage(doubt: np.ndarray, wrong: np.ndarray) -> float:
    """Share of wrong voxels among those kept, averaged over how many are kept."""
    ordered = wrong[np.argsort(doubt, kind="stable")]
    return float((np.cumsum(ordered) / np.arange(1, len(ordered) + 1)).mean())


def case_by_case(doubt: np.ndarray, wrong: np.ndarray, sizes: Sequence[int]) -> list[float]:
    """Area under the risk-coverage curve of each case."""
    ends = np.cumsum(sizes)[:-1]
    pairs = zip(np.split(doubt, ends), np.split(wrong, ends), strict=True)
    return [risk_coverage(*pair) for pair in pairs]


def area_under_roc(doubt: np.ndarray, wrong: np.ndarray) -> float:
    """How often a wrong voxel is doubted more than a right one; by Mann and Whitney's ranks."""
    count = int(wrong.sum())
    above = rankdata(doubt)[wrong].sum() - count * (count + 1) / 2
    return float(above / (count * (len(wrong) - count)))


def soft_dice(mean: np.ndarray) -> np.ndarray:
    """Dice of each class that is to be expected if the probabilities are right."""
    labels = mean.argmax(axis=0)
    mine = np.stack([labels == c for c in range(len(mean))])
    return expected_dice(
        (mean * mine).sum(axis=1), mean.sum(axis=1), mine.sum(axis=1).astype(float)
    )[1:]


def left_out_error(told: np.ndarray, dice: np.ndarray) -> float:
    """Mean error of the Dice that a line through the other cases predicts, over the classes."""
    errors = []
    for at in range(dice.shape[1]):
        known = np.isfinite(told[:, at])
        x, y = told[known, at], dice[known, at]
        for n in range(len(x)):
            others = np.arange(len(x)) != n
            slope, offset = np.polyfit(x[others], y[others], 1)
            errors.append(abs(slope * x[n] + offset - y[n]))
    return float(np.mean(errors))
