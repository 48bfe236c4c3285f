"""Whether two models differ on the same cases, and how far that can be told."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Real

from seg.metrics.bootstrap import Estimate, bootstrap_mean, members_of


@dataclass(frozen=True, slots=True)
class PairedTest:
    """Differences of pairs, second less first; pairs with a NaN count nowhere."""

    difference: Estimate
    """Mean with its bootstrap interval."""
    p_value: float
    """Of Wilcoxon's signed-rank test, two-sided; NaN where all pairs are equal."""
    higher: int
    """Pairs, or subjects, whose second value is the higher one."""
    lower: int

    @property
    def smallest_p(self) -> float:
        """What the test could give at best with so many unequal pairs: all differ in one sense."""
        return float(min(1.0, 2.0 ** (1 - self.higher - self.lower)))


def paired_test(
    first: Real[np.ndarray, "cases"],
    second: Real[np.ndarray, "cases"],
    rng: np.random.Generator,
    groups: Sequence[str] | None = None,
) -> PairedTest:
    """Compare two values of each case.

    The interval comes from drawing cases, with both of their values, with replacement. Where
    ``groups`` names the subject of each case, subjects are drawn, and it is their mean differences
    that the test ranks and that are higher or lower.

    Sources: Efron and Tibshirani, An Introduction to the Bootstrap (1993); Wilcoxon, Individual
    comparisons by ranking methods, Biometrics Bulletin 1 (1945).
    """
    from scipy import stats  # half a second, which no service has to wait for

    differences = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    measured = differences[~np.isnan(differences)]
    if groups is not None:
        known = [g for g, each in zip(groups, differences, strict=True) if not math.isnan(each)]
        members = members_of(known)
        measured = np.bincount(members, measured) / np.bincount(members)
    p_value = math.nan
    if measured.any():
        with warnings.catch_warnings():  # of a normal approximation of few pairs with ties
            warnings.simplefilter("ignore")
            p_value = float(stats.wilcoxon(measured).pvalue)
    return PairedTest(
        bootstrap_mean(differences, rng, groups),
        p_value,
        higher=int((measured > 0).sum()),
        lower=int((measured < 0).sum()),
    )
