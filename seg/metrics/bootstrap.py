"""How sure a mean over cases is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Real


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over cases with its interval; all NaN where no case counts."""

    mean: float
    low: float
    high: float
    cases: int
    """Cases that count: those whose value is not NaN."""
    units: int
    """What was drawn for the interval: those cases, or the subjects that they are of."""


def bootstrap_mean(
    values: Real[np.ndarray, "cases"],
    rng: np.random.Generator,
    groups: Sequence[str] | None = None,
    *,
    level: float = 0.95,
    resamples: int = 2000,
) -> Estimate:
    """The mean with its percentile bootstrap interval, cases drawn with replacement.

    Cases of one subject are alike and say less than as many subjects would: where ``groups`` names
    the subject of each case, subjects are drawn, each with all of its cases.

    NaN values (the class is in neither mask) are left out. One case, or one subject, gives an
    interval of width zero, and few one that is too narrow: it must be read together with ``units``.

    Sources: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13; Field and
    Welsh, Bootstrapping clustered data, Journal of the Royal Statistical Society B 69 (2007), the
    cluster bootstrap.
    """
    known = ~np.isnan(values)
    scores = values[known].astype(np.float64)
    if not scores.size:
        return Estimate(float("nan"), float("nan"), float("nan"), 0, 0)
    mean = float(scores.mean())
    of_groups = [group for group, counts in zip(groups or (), known, strict=False) if counts]
    members = members_of(of_groups) if of_groups else np.arange(scores.size)
    units = int(members.max()) + 1
    if units == 1:
        return Estimate(mean, mean, mean, scores.size, 1)
    if units < scores.size:
        low, high = _of_groups(scores, members, rng, level, resamples)
        return Estimate(mean, low, high, scores.size, units)
    from scipy import stats  # half a second, which no service has to wait for

    interval = stats.bootstrap(
        (scores,),
        np.mean,
        method="percentile",
        confidence_level=level,
        n_resamples=resamples,
        rng=rng,
    ).confidence_interval
    return Estimate(mean, float(interval.low), float(interval.high), scores.size, units)


def members_of(groups: Sequence[str]) -> Int[np.ndarray, " cases"]:
    """The number of each case's group, from 0 on."""
    number_of = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    return np.array([number_of[group] for group in groups], np.int64)


def units_of(subjects: Sequence[str | None]) -> Int[np.ndarray, " cases"]:
    """Cases that say something each by itself, as numbers from 0 on.

    They are those of one subject together; where all are of one, nothing else is left than each.
    """
    names = [f"case {at}" if each is None else f"of {each}" for at, each in enumerate(subjects)]
    units = members_of(names)
    return units if len(set(names)) > 1 else np.arange(len(names))


def _of_groups(
    scores: Real[np.ndarray, " cases"],
    members: Int[np.ndarray, " cases"],
    rng: np.random.Generator,
    level: float,
    resamples: int,
) -> tuple[float, float]:
    """Between which quantiles the means of all cases of drawn groups lie."""
    sums, sizes = np.bincount(members, scores), np.bincount(members)
    drawn = rng.integers(len(sums), size=(resamples, len(sums)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
