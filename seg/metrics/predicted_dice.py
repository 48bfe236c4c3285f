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


class ShiftCalibration(FrozenData):
    """What is left of a predicted Dice where an image is unlike those of the training.

    Fitted on pieces of held-back images that were degraded as the world does. The share that is
    left is ``expit(level - by_doubt * doubt - by_strangeness * log(strangeness))``, 1 for an image
    without doubt: ``doubt`` is how far the logit of its expected Dice lies below the usual.
    """

    usual: float
    """Median expected Dice of pieces as they are."""
    lowest: float
    """Expected Dice of held-back images below which the plain calibration is not trusted."""
    level: float
    by_doubt: Annotated[float, Field(ge=0)]
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

    def left(self, expected: float, strangeness: float) -> float:
        """Share of the Dice, in [0, 1]."""
        doubt = max(0.0, float(_logit(self.usual) - _logit(expected)))
        far = math.log(max(1.0, strangeness)) if math.isfinite(strangeness) else 0.0
        share = expit(self.level - self.by_doubt * doubt - self.by_strangeness * far)
        return float(min(1.0, share / expit(self.level)))

    def error_at(self, left: float, strangeness: float, voxels: int) -> float:
        """Mean absolute error that is expected of the Dice of an image of so many voxels."""
        everywhere, by_strangeness, by_doubt = self.error
        far = math.log(max(1.0, strangeness)) if math.isfinite(strangeness) else 0.0
        everywhere *= math.sqrt(min(1.0, self.voxels / max(1, voxels)))
        return everywhere + by_strangeness * far + by_doubt * 4 * left * (1 - left)


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
        self, expected: float, strangeness: float = math.nan, voxels: int = 1
    ) -> PredictedDice:
        """What a mask will turn out to be.

        Args:
            expected: soft Dice of the mask, not NaN.
            strangeness: of what the network saw, in multiples of the usual; NaN where not known.
            voxels: of the image.
        """
        shift = self.shift
        if shift is None:
            return PredictedDice(float(self.predicted(np.array([expected]))[0]),
                                 self.expected_error, None)  # fmt: skip
        at_best = float(self.predicted(np.array([max(expected, shift.lowest)]))[0])
        left = shift.left(expected, strangeness)
        error = (self.expected_error or 0.0) + shift.error_at(left, strangeness, voxels)
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

    temperature: Annotated[float, Field(gt=0)] = 1.0
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


def _logit(dice: float) -> float:
    return float(logit(min(max(dice, EDGE), 1 - EDGE)))


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
