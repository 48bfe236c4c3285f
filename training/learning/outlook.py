"""Where a training is going, by its own first part: a Dice with an interval, or nothing.

A learning curve is followed by a line: the logit of the Dice over the logarithm of the progress, as
in Domhan et al., Speeding up automatic hyperparameter optimization of deep neural networks by
extrapolation of learning curves, IJCAI 2015, with one of their families.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import expit, logit, stdtrit

MARKS = (0.04, 0.08, 0.12, 0.16, 0.2, 0.24, 0.28, 1 / 3)
"""Progress at which a training is looked at, if no look is due before."""
FEWEST_STEPS = 30
"""Before them a network has hardly begun, however short its training is to be."""
LATEST = 5
"""Looks that a line goes through: the steep beginning tells little of the rest."""
KEPT = 0.5
"""Of what the line gains after the last look: curves flatten, some at once."""
SURE = 0.9
"""Share of the trainings whose end should lie within the interval."""
LEAST = 0.7
"""Logits to either side at least: the learning rate has not come down yet, and what that brings
was up to 0.7 in recorded trainings."""
MOST = 1.5
"""Logits to either side that are worth saying, and"""
WIDEST = 0.25
"""Dice between both ends of an interval that is worth saying."""


class Outlook(NamedTuple):
    """Dice of the held-back patches that are watched, at the end of the training."""

    dice: float
    low: float
    high: float


def outlook_of(looks: Sequence[tuple[float, float]], steps: int) -> Outlook | None:
    """What is to be expected; None where it cannot be told, or failed a check on these looks.

    The check: what the looks before say of the last one.

    Args:
        looks: progress in (0, 1] and Dice, in order.
        steps: that were taken so far.
    """
    known = [(at, dice) for at, dice in looks if 0 < dice < 1]
    if len(known) <= LATEST or steps < FEWEST_STEPS:
        return None
    at, dice = np.array(known).T
    x, y = np.log(at), logit(dice)
    before, known_of_it = _followed(x[:-1], y[:-1], float(x[-1]))
    missed = abs(before - float(y[-1]))
    middle, reach = _followed(x, y, 0.0)
    reach = max(reach, missed)
    low, high = (float(expit(middle + side * reach)) for side in (-1, 1))
    if high - low > WIDEST or reach > MOST or missed > known_of_it:
        return None
    return Outlook(float(expit(middle)), low, high)


def _followed(
    x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], where: float
) -> tuple[float, float]:
    """Where the curve of the latest looks leads, and how far it may be off."""
    x, y = x[-LATEST:], y[-LATEST:]
    away = x - x.mean()
    spread = max(float((away**2).sum()), 1e-9)
    slope = max(0.0, float((away * y).sum()) / spread)
    rest = y - y.mean() - slope * away
    deviation = float(np.sqrt((rest**2).sum() / (len(x) - 2)))
    factor = float(stdtrit(len(x) - 2, (1 + SURE) / 2))
    now = float(y.mean() + slope * away[-1])
    gain = slope * (where - float(x[-1]))
    off = factor * deviation * float(np.sqrt(1 + 1 / len(x) + away[-1] ** 2 / spread))
    return now + KEPT * gain, max(LEAST, off, (1 - KEPT) * gain)
