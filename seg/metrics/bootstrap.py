"""How sure a mean over cases is."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Real


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over cases with its interval; all NaN where no case counts."""

    mean: float
    low: float
    high: float
    cases: int
    """Cases that count: those whose value is not NaN."""


def bootstrap_mean(
    values: Real[np.ndarray, "cases"],
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    resamples: int = 2000,
) -> Estimate:
    """The mean with its percentile bootstrap interval, cases drawn with replacement.

    NaN values (the class is in neither mask) are left out. One case gives an interval of width
    zero, and few cases one that is too narrow: it must be read together with ``cases``.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    scores = values[~np.isnan(values)].astype(np.float64)
    if not scores.size:
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    mean = float(scores.mean())
    if scores.size == 1:
        return Estimate(mean, mean, mean, 1)
    from scipy import stats  # half a second, which no service has to wait for

    interval = stats.bootstrap(
        (scores,),
        np.mean,
        method="percentile",
        confidence_level=level,
        n_resamples=resamples,
        rng=rng,
    ).confidence_interval
    return Estimate(mean, float(interval.low), float(interval.high), scores.size)
