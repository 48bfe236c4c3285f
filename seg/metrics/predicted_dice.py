"""How good a mask will turn out to be, said before anybody has drawn a reference.

The probabilities of a network tell which Dice to expect of its mask. Networks are too sure of
themselves, so what they expect is mapped to what cases with a reference really got.

Sources: Guo et al., On calibration of modern neural networks, ICML 2017 (temperature); Robinson et
al., Real-time prediction of segmentation quality, MICCAI 2018 (Dice without a reference); Li et
al., Estimating model performance under domain shifts with class-specific confidence scores, MICCAI
2022 (soft Dice as the estimate). Letters: ``k`` classes, ``n`` cases.
"""

from typing import Annotated

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field
from scipy.special import expit, logit

EDGE = 1e-4
"""Dice values nearer to 0 or 1 than this are taken as this near."""


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
