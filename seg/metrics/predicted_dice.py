"""How good a mask will turn out to be, said before anybody has drawn a reference.

The probabilities of a network tell which Dice to expect of its mask. Networks are too sure of
themselves, so what they expect is mapped to what cases with a reference really got.

Sources: Guo et al., On calibration of modern neural networks, ICML 2017 (temperature); Robinson et
al., Real-time prediction of segmentation quality, MICCAI 2018 (Dice without a reference); Li et
al., Estimating model performance under domain shifts with class-specific confidence scores, MICCAI
2022 (soft Dice as the estimate). Letters: ``k`` classes, ``n`` cases.
"""

import math
from typing import Annotated, NamedTuple

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field
from scipy.special import expit, logit

from seg.frozen import FrozenData
from seg.metrics.features import FeatureStatistics

EDGE = 1e-4
"""Dice values nearer to 0 or 1 than this are taken as this near."""


SPREAD_EDGE = 1e-3
"""The same of both numbers of a ``Spread``."""


class Spread(NamedTuple):
    """Where the probability of a class lies."""

    inside: float
    """Its mean over the voxels where the class is predicted."""
    outside: float
    """What lies elsewhere, in multiples of the voxels where the class is predicted."""


class Doubts(NamedTuple):
    """How far an image lies from the usual one; what is not known is no doubt."""

    dice: float
    """Of the logit of the expected Dice, below the usual."""
    inside: float
    """The same of the probability inside."""
    more_outside: float
    """Of the logarithm of the probability outside, above the usual."""
    less_outside: float
    """Below it: a network that is too sure."""
    strangeness: float
    """Its logarithm."""


class ShiftCalibration(FrozenData):
    """What is left of a predicted Dice where an image is unlike those of the training.

    Fitted on pieces of held-back images that were degraded as the world does. The share that is
    left is ``expit(level - sum of weight * doubt)`` over that of an image without ``Doubts``.
    """

    usual: float
    """Median expected Dice of pieces as they are."""
    usual_spread: Spread | None = None
    """The same of where the probability lies; None in older packages, which look at the Dice."""
    lowest: float
    """Expected Dice of held-back images below which the plain calibration is not trusted."""
    level: float
    by_doubt: Annotated[float, Field(ge=0)]
    """Weight of the doubt of the Dice; the others are those of ``Doubts``."""
    by_inside: Annotated[float, Field(ge=0)] = 0.0
    by_more_outside: Annotated[float, Field(ge=0)] = 0.0
    by_less_outside: Annotated[float, Field(ge=0)] = 0.0
    by_strangeness: Annotated[float, Field(ge=0)]
    error: tuple[float, float, float]
    """Mean absolute error: of any piece, for each unit of log strangeness, and where half of the
    Dice is left."""
    interval: Annotated[float, Field(gt=0)]
    """Errors to either side that hold the true Dice of most pieces."""
    pieces: int
    voxels: int
    """Of a piece: the error of whole images is smaller, by the root of their number."""
    mean_error: float
    """Mean absolute error on degradations that the fit had not seen, each left out once."""

    @property
    def weights(self) -> Doubts:
        """Of the doubts."""
        return Doubts(
            self.by_doubt,
            self.by_inside,
            self.by_more_outside,
            self.by_less_outside,
            self.by_strangeness,
        )

    def left(self, doubts: Doubts) -> float:
        """Share of the Dice, in [0, 1]."""
        doubt = sum(w * each for w, each in zip(self.weights, doubts, strict=True))
        return float(min(1.0, expit(self.level - doubt) / expit(self.level)))

    def error_at(self, left: float, doubts: Doubts, voxels: int) -> float:
        """Mean absolute error that is expected of the Dice of an image of so many voxels."""
        everywhere, by_strangeness, by_doubt = self.error
        everywhere *= math.sqrt(min(1.0, self.voxels / max(1, voxels)))
        return everywhere + by_strangeness * doubts.strangeness + by_doubt * 4 * left * (1 - left)


def doubts_of(
    expected: float,
    spread: Spread | None,
    strangeness: float,
    usual: float,
    usual_spread: Spread | None,
) -> Doubts:
    """How far an image lies from the usual one.

    Args:
        expected: soft Dice of the mask.
        spread: of the class; None where it is not known.
        strangeness: of what the network saw, in multiples of the usual; NaN where not known.
        usual: expected Dice.
        usual_spread: None where it is not known.
    """
    far = math.log(max(1.0, strangeness)) if math.isfinite(strangeness) else 0.0
    dice = max(0.0, _logit(usual) - _logit(expected))
    if spread is None or usual_spread is None:
        return Doubts(dice, 0.0, 0.0, 0.0, far)
    inside = _logit(usual_spread.inside, SPREAD_EDGE) - _logit(spread.inside, SPREAD_EDGE)
    more = math.log((spread.outside + SPREAD_EDGE) / (usual_spread.outside + SPREAD_EDGE))
    return Doubts(dice, max(0.0, inside), max(0.0, more), max(0.0, -more), far)


class PredictedDice(NamedTuple):
    """A Dice that nobody has measured."""

    dice: float
    expected_error: float | None
    """Mean absolute error."""
    interval: tuple[float, float] | None
    """That holds the true Dice in about nine of ten images; None in older packages."""
    left: float = 1.0
    """Share of what a usual image would get."""


class DiceCalibration(BaseModel):
    """Expected Dice to predicted Dice of one class: ``expit(slope * logit(expected) + offset)``.

    Never falls where the expected Dice rises, since the slope is not negative.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    slope: Annotated[float, Field(ge=0)] = 1.0
    offset: float = 0.0
    cases: Annotated[int, Field(ge=0)] = 0
    """On which it was fitted."""
    expected_error: float | None = None
    """Mean absolute error on cases that the fit has not seen (each case left out once)."""
    error_of_the_mean: float | None = None
    """The same of the mean Dice of the other cases: what is known without looking at the mask."""

    shift: ShiftCalibration | None = None
    """None in older packages, which know images like those of their training only."""

    def predict(
        self,
        expected: float,
        strangeness: float = math.nan,
        voxels: int = 1,
        spread: Spread | None = None,
    ) -> PredictedDice:
        """What a mask will turn out to be.

        Args:
            expected: soft Dice of the mask, not NaN.
            strangeness: of what the network saw, in multiples of the usual; NaN where not known.
            voxels: of the image.
            spread: of the class's probability, where it is known.
        """
        shift = self.shift
        if shift is None:
            return PredictedDice(float(self.predicted(np.array([expected]))[0]),
                                 self.expected_error, None)  # fmt: skip
        at_best = float(self.predicted(np.array([max(expected, shift.lowest)]))[0])
        doubts = doubts_of(expected, spread, strangeness, shift.usual, shift.usual_spread)
        left = shift.left(doubts)
        error = (self.expected_error or 0.0) + shift.error_at(left, doubts, voxels)
        dice, reach = at_best * left, shift.interval * error
        interval = (max(0.0, dice - reach), min(1.0, dice + reach))
        return PredictedDice(dice, error, interval, left)

    def predicted(self, expected: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Predicted Dice, in [0, 1]; NaN stays NaN."""
        inner = np.clip(np.asarray(expected, np.float64), EDGE, 1 - EDGE)
        return np.asarray(expit(self.slope * logit(inner) + self.offset))


class SelfAssessment(BaseModel):
    """What a model knows of its own errors; part of ``model.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """Logits are divided by it before they become probabilities; masks stay as they are."""
    ece: tuple[float, float] | None = None
    """Expected calibration error without and with a fitted temperature, on cases left out of its
    fit, which is kept where it lowers the error; half of the voxels that count were predicted to be
    foreground."""
    dice: dict[str, DiceCalibration] = {}
    """By class; a class that too few cases have is not there."""
    fitted_on: str = "held-back cases"
    features: FeatureStatistics | None = None
    """Of what the network sees; None in older packages and in adopted ones."""


def _logit(share: float, edge: float = EDGE) -> float:
    return float(logit(min(max(share, edge), 1 - edge)))


def expected_dice(
    overlap: Float[np.ndarray, "k"],
    probability: Float[np.ndarray, "k"],
    predicted: Float[np.ndarray, "k"],
) -> Float[np.ndarray, "k"]:
    """Soft Dice of each class: what the mask's Dice is if the probabilities are right, roughly.

    NaN where the class is not predicted: a mask without a class has Dice 0 or none at all.

    Args:
        overlap: sum of the class's probability over the voxels where it is predicted.
        probability: sum of the class's probability over all voxels.
        predicted: voxels where the class is predicted.
    """
    total = np.where(predicted > 0, probability + predicted, np.nan)
    return np.asarray(2 * overlap / total)


def spread_of(
    overlap: Float[np.ndarray, "k"],
    probability: Float[np.ndarray, "k"],
    predicted: Float[np.ndarray, "k"],
) -> list[Spread]:
    """Where the probability of each class lies; the arguments are those of ``expected_dice``."""
    voxels = np.where(predicted > 0, predicted, np.nan)
    inside, outside = overlap / voxels, np.maximum(0, probability - overlap) / voxels
    return [Spread(float(a), float(b)) for a, b in zip(inside, outside, strict=True)]
