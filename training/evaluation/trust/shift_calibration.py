"""How much of a predicted Dice is left where an image is unlike those of the training.

Letters: ``n`` pieces.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import minimize, nnls
from scipy.special import expit, logit

from seg.inference.trust.quality import ALLOWANCE
from seg.metrics import DiceCalibration, SelfAssessment, ShiftCalibration
from seg.metrics.features import FeatureStatistics
from seg.metrics.predicted_dice import EDGE
from training.evaluation.trust.shifted_cases import CLEAN, ShiftedCase

FEWEST = 10
"""Degraded pieces that must show a class."""
CLEAN_WEIGHT = 0.5
"""Of all pieces as they are, where all degraded ones together have 1."""
PRIOR = 1e-4
"""Weight of the squared distance to ``EXPECTED``, so that few pieces cannot bend much."""
EXPECTED = (4.0, 2.0, 0.0)
"""Level, by doubt, by strangeness."""
COVERED = 0.96
"""Of the pieces that a fit has not seen, whose Dice lies within the interval. Other places differ
from a dozen of them by more than these do from each other: 0.88 to 0.96 of others is held so."""


@dataclass(frozen=True, eq=False)
class _Pieces:
    """What a fit takes of the pieces that show a class."""

    way: np.ndarray
    doubt: Float[np.ndarray, " n"]
    far: Float[np.ndarray, " n"]
    at_best: Float[np.ndarray, " n"]
    reached: Float[np.ndarray, " n"]

    def where(self, which: Bool[np.ndarray, " n"]) -> "_Pieces":
        return _Pieces(*(getattr(self, name)[which] for name in self.__dataclass_fields__))

    @property
    def weights(self) -> Float[np.ndarray, " n"]:
        clean = self.way == CLEAN
        of_clean, of_others = CLEAN_WEIGHT / max(1, clean.sum()), 1 / max(1, (~clean).sum())
        return np.asarray(np.where(clean, of_clean, of_others))

    def left(self, level: float, by_doubt: float, by_far: float) -> Float[np.ndarray, " n"]:
        share = expit(level - by_doubt * self.doubt - by_far * self.far)
        return np.asarray(share / expit(level))


def with_shift(
    assessment: SelfAssessment,
    lowest: Mapping[str, float],
    pieces: Sequence[ShiftedCase],
) -> SelfAssessment:
    """The assessment with what degraded pieces teach.

    Args:
        assessment: of held-back images as they are.
        lowest: by class, the smallest expected Dice of these.
        pieces: of held-back images, as they are and degraded.
    """
    features = _features(pieces)
    dice = {
        name: _with_shift(name, calibration, lowest[name], pieces, features)
        for name, calibration in assessment.dice.items()
    }
    return assessment.model_copy(update={"dice": dice, "features": features})


def _features(pieces: Sequence[ShiftedCase]) -> FeatureStatistics | None:
    clean = [piece for piece in pieces if piece.way == CLEAN]
    if not clean or not all(piece.features.size for piece in clean):
        return None
    return FeatureStatistics.of(
        clean[0].network, [piece.features for piece in clean], allowance=ALLOWANCE
    )


def _with_shift(
    name: str,
    calibration: DiceCalibration,
    lowest: float,
    pieces: Sequence[ShiftedCase],
    features: FeatureStatistics | None,
) -> DiceCalibration:
    shown = [
        piece
        for piece in pieces
        if math.isfinite(piece.expected[name]) and math.isfinite(piece.dice[name])
    ]
    clean = [piece.expected[name] for piece in shown if piece.way == CLEAN]
    if not clean or len(shown) - len(clean) < FEWEST:
        return calibration
    usual = float(np.median(clean))
    expected = np.clip([piece.expected[name] for piece in shown], EDGE, 1 - EDGE)
    strange = [features.strangeness(piece.features) if features else 1.0 for piece in shown]
    seen = _Pieces(
        way=np.array([piece.way for piece in shown]),
        doubt=np.maximum(0, logit(np.clip(usual, EDGE, 1 - EDGE)) - logit(expected)),
        far=np.log(np.maximum(1, strange)),
        at_best=calibration.predicted(np.maximum(expected, lowest)),
        reached=np.array([piece.dice[name] for piece in shown]),
    )
    level, by_doubt, by_far = _fit(seen)
    residuals = _unseen_residuals(seen)
    left = seen.left(level, by_doubt, by_far)
    terms = np.stack([np.ones_like(left), seen.far, 4 * left * (1 - left)], axis=1)
    root = np.sqrt(seen.weights)
    found, _ = nnls(terms * root[:, None], residuals * root)
    # what no piece showed may still be: the stranger an image, the less is known of it
    error = np.array([found[0], max(found[:2]), found[2]])
    expected_error = (calibration.expected_error or 0.0) + terms @ error
    ratios = residuals / np.maximum(expected_error, EDGE)
    shift = ShiftCalibration(
        usual=usual,
        lowest=lowest,
        level=level,
        by_doubt=by_doubt,
        by_strangeness=by_far,
        error=(float(error[0]), float(error[1]), float(error[2])),
        interval=max(EDGE, float(np.quantile(ratios, COVERED))),
        pieces=len(shown),
        voxels=int(np.median([piece.voxels for piece in shown if piece.way == CLEAN])),
        mean_error=float(residuals.mean()),
    )
    return calibration.model_copy(update={"shift": shift})


def _fit(pieces: _Pieces) -> tuple[float, float, float]:
    weights = pieces.weights

    def loss(parameters: Float[np.ndarray, "3"]) -> float:
        misfit = weights @ (pieces.at_best * pieces.left(*parameters) - pieces.reached) ** 2
        return float(misfit + PRIOR * ((parameters - EXPECTED) ** 2).sum())

    bounds = [(1, 10), (0, 20), (0, 20)]
    tried = [
        minimize(loss, np.array([EXPECTED[0], by_doubt, by_far]), bounds=bounds)
        for by_doubt in (1.0, 3.0)
        for by_far in (0.0, 2.0)
    ]
    best = min(tried, key=lambda each: float(each.fun))
    level, by_doubt, by_far = (float(each) for each in best.x)
    return level, by_doubt, by_far


def _unseen_residuals(pieces: _Pieces) -> Float[np.ndarray, " n"]:
    """Absolute errors on each way by a fit that has seen all others: the world has more ways."""
    residuals = np.zeros(len(pieces.reached))
    for way in np.unique(pieces.way):
        part = pieces.way == way
        found = _fit(pieces if way == CLEAN else pieces.where(~part))
        here = pieces.where(part)
        residuals[part] = np.abs(here.at_best * here.left(*found) - here.reached)
    return residuals
