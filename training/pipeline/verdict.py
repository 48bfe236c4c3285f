"""Whether a comparison allows to put the second package in the place of the first."""

import math
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from training.evaluation.comparison import SIGNIFICANT, Comparison, Difference

Decision = Literal["better", "perhaps", "not better"]
"""``perhaps``: better on every case, of which there are too few for a test to say anything."""
LEAD = "AP .5"
"""What counts of objects; of classes, and where as many objects are right, it is Dice."""
BARELY_LOWER = -0.005
"""Mean Dice that may be lost where more objects are found."""


@dataclass(frozen=True)
class Verdict:
    """A decision, and why."""

    decision: Decision
    says: str


def verdict(comparison: Comparison) -> Verdict:
    """The second package is better where the paired test says so, and no class is worse.

    Source of the test: `seg.metrics.paired_test`.
    """
    dice = [each for each in comparison.differences if each.measure == "dice"]
    cases = len(comparison.cases)
    on = f"on {cases} held-back {'image' if cases == 1 else 'images'}"
    if comparison.own_a:
        on += (
            f", {len(comparison.own_a)} of them with outlines of {comparison.a} voxel for voxel, "
            "as if drawn over its masks, which favours it: outline a held-back image without the "
            "model"
        )
    if not dice:
        return Verdict("not better", f"no class can be scored {on}")
    figures = _figures(comparison, dice, on)
    worse = next((each for each in dice if _is_shown(each) and each.difference.mean < 0), None)
    if worse:
        return Verdict("not better", f"{worse.region} is worse: {figures}")
    objects = [each for each in comparison.objects if each.label == LEAD]
    of_objects = fmean([each.difference for each in objects] or [0.0])
    of_dice = fmean(each.difference.mean for each in dice)
    if of_objects < 0 < of_dice:
        return Verdict("not better", f"fewer of its objects are right: {figures}")
    if (of_objects or of_dice) <= 0 or of_dice < BARELY_LOWER:
        return Verdict("not better", f"it is not better: {figures}")
    if all(each.smallest_p > SIGNIFICANT for each in dice):
        if objects or all(not each.worse for each in dice):
            return Verdict("perhaps", f"it is better, and so few images are no proof: {figures}")
        return Verdict("not better", f"it is better on some and worse on others: {figures}")
    if any(each.ci95 and each.ci95[0] > 0 for each in objects) or any(
        _is_shown(each) and each.difference.mean > 0 for each in dice
    ):
        return Verdict("better", f"it is better: {figures}")
    return Verdict("not better", f"no difference is shown: {figures}")


def _is_shown(difference: Difference) -> bool:
    """Test and interval agree that there is one."""
    low, high = difference.difference.ci95 or (-math.inf, math.inf)
    is_apart = low > 0 or high < 0
    return is_apart and difference.p_value is not None and difference.p_value <= SIGNIFICANT


def _figures(comparison: Comparison, dice: list[Difference], on: str) -> str:
    before, after = (fmean(getattr(each, f"mean_{side}") for each in dice) for side in "ab")
    parts = [f"mean Dice {before:.3f} before, {after:.3f} after"]
    objects = [each for each in comparison.objects if each.label == LEAD]
    if objects:
        a, b = fmean(each.a for each in objects), fmean(each.b for each in objects)
        parts.append(f"{LEAD} {a:.3f} before, {b:.3f} after")
    return f"{', '.join(parts)}, {on}"
