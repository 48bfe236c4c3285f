"""How much of a predicted Dice is left where an image is unlike those of the training.

Letters: ``n`` pieces.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import minimize, nnls
from scipy.special import expit

from seg.inference.trust.quality import ALLOWANCE
from seg.metrics import DiceCalibration, SelfAssessment, ShiftCalibration, Spread
from seg.metrics.features import FeatureStatistics
from seg.metrics.predicted_dice import EDGE, Doubts, doubts_of
from training.evaluation.trust.shifted_cases import CLEAN, ShiftedCase

FEWEST = 10
"""Degraded pieces that must show a class."""
CLEAN_WEIGHT = 0.5
"""Of all pieces as they are, where all degraded ones together have 1."""
PRIOR = 1e-4
"""Weight of the squared distance to ``EXPECTED``, so that few pieces cannot bend much."""
EXPECTED = (4.0, 0.5, 0.5, 0.5, 0.5, 0.5)
"""Level, and the weights of the doubts."""
SHARP = 0.01
"""Errors beyond this count as they are, not by their squares: what nobody can tell, as the Dice of
a mask of two objects, does not bend the rest."""
COVERED = 0.95
"""Of the pieces that a fit has not seen, whose Dice lies within the interval. Other places differ
from a dozen of them by more than these do from each other: 0.87 to 0.97 of others is held so."""


@dataclass(frozen=True, eq=False)
class _Pieces:
    """What a fit takes of the pieces that show a class."""

    way: np.ndarray
    doubts: Float[np.ndarray, "n doubts"]
    at_best: Float[np.ndarray, " n"]
    reached: Float[np.ndarray, " n"]

    def where(self, which: Bool[np.ndarray, " n"]) -> "_Pieces":
        return _Pieces(*(getattr(self, name)[which] for name in self.__dataclass_fields__))

    @property
    def weights(self) -> Float[np.ndarray, " n"]:
        clean = self.way == CLEAN
        of_clean, of_others = CLEAN_WEIGHT / max(1, clean.sum()), 1 / max(1, (~clean).sum())
        return np.asarray(np.where(clean, of_clean, of_others))

    def predicted(self, parameters: Float[np.ndarray, " p"]) -> Float[np.ndarray, " n"]:
        return np.asarray(self.at_best * self.left(parameters))

    def left(self, parameters: Float[np.ndarray, " p"]) -> Float[np.ndarray, " n"]:
        level, *weights = parameters
        return np.asarray(expit(level - self.doubts @ weights) / expit(level))


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
    clean = [piece for piece in shown if piece.way == CLEAN]
    if not clean or len(shown) - len(clean) < FEWEST:
        return calibration
    usual = float(np.median([piece.expected[name] for piece in clean]))
    usual_spread = Spread(*np.median([piece.spread[name] for piece in clean], axis=0).tolist())
    doubts = [
        doubts_of(
            piece.expected[name],
            piece.spread[name],
            features.strangeness(piece.features) if features else math.nan,
            usual,
            usual_spread,
        )
        for piece in shown
    ]
    expected = np.array([piece.expected[name] for piece in shown])
    seen = _Pieces(
        way=np.array([piece.way for piece in shown]),
        doubts=np.array(doubts),
        at_best=calibration.predicted(np.maximum(expected, lowest)),
        reached=np.array([piece.dice[name] for piece in shown]),
    )
    found = _fit(seen)
    residuals = _unseen_residuals(seen)
    left = seen.left(found)
    strangeness = np.array([each.strangeness for each in doubts])
    terms = np.stack([np.ones_like(left), strangeness, 4 * left * (1 - left)], axis=1)
    root = np.sqrt(seen.weights)
    errors, _ = nnls(terms * root[:, None], residuals * root)
    # what no piece showed may still be: the stranger an image, the less is known of it
    error = np.array([errors[0], max(errors[:2]), errors[2]])
    expected_error = (calibration.expected_error or 0.0) + terms @ error
    ratios = residuals / np.maximum(expected_error, EDGE)
    level, *weights = found.tolist()
    by = Doubts(*weights)
    shift = ShiftCalibration(
        usual=usual,
        usual_spread=usual_spread,
        lowest=lowest,
        level=level,
        by_doubt=by.dice,
        by_inside=by.inside,
        by_more_outside=by.more_outside,
        by_less_outside=by.less_outside,
        by_strangeness=by.strangeness,
        error=(float(error[0]), float(error[1]), float(error[2])),
        interval=max(EDGE, float(np.quantile(ratios, COVERED))),
        pieces=len(shown),
        voxels=int(np.median([piece.voxels for piece in clean])),
        mean_error=float(residuals.mean()),
    )
    return calibration.model_copy(update={"shift": shift})


def _fit(pieces: _Pieces) -> Float[np.ndarray, " p"]:
    """Level and weights under which the weighted absolute errors are least."""
    weights, first = pieces.weights, np.array(EXPECTED)

    def loss(parameters: Float[np.ndarray, " p"]) -> tuple[float, Float[np.ndarray, " p"]]:
        error = pieces.predicted(parameters) - pieces.reached
        size = np.sqrt(error**2 + SHARP**2)
        left, level = pieces.left(parameters), expit(parameters[0])
        by_inner = pieces.at_best * left * (1 - left * level)
        pull = weights * error / size
        slope = np.concatenate(
            [
                [pull @ (by_inner - pieces.at_best * left * (1 - level))],
                -(pull * by_inner) @ pieces.doubts,
            ]
        )
        off = parameters - first
        return float(weights @ size + PRIOR * (off**2).sum()), slope + 2 * PRIOR * off

    bounds = [(1, 10)] + [(0, 20)] * (len(first) - 1)
    return np.asarray(minimize(loss, first, jac=True, bounds=bounds).x)


def _unseen_residuals(pieces: _Pieces) -> Float[np.ndarray, " n"]:
    """Absolute errors on each way by a fit that has seen all others: the world has more ways."""
    residuals = np.zeros(len(pieces.reached))
    for way in np.unique(pieces.way):
        part = pieces.way == way
        found = _fit(pieces if way == CLEAN else pieces.where(~part))
        here = pieces.where(part)
        residuals[part] = np.abs(here.predicted(found) - here.reached)
    return residuals
