"""A mean of few values that are normally spread, and how far it can be told."""

from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from seg.metrics.bootstrap import Estimate


def student_mean(values: Sequence[float], *, level: float = 0.95) -> Estimate | None:
    """The mean with Student's interval; None of fewer than two values.

    Source: Student, The probable error of a mean, Biometrika 6 (1908).
    """
    if len(values) <= 1:
        return None
    middle, spread = float(np.mean(values)), float(np.std(values, ddof=1))
    reach = float(stdtrit(len(values) - 1, (1 + level) / 2)) * spread / len(values) ** 0.5
    return Estimate(middle, middle - reach, middle + reach, len(values), len(values))
