"""The floor: what a threshold reaches without any learning."""

import numpy as np
from jaxtyping import Bool, Real

from seg.metrics.overlap import dice

BINS = 256


def otsu_threshold(values: Real[np.ndarray, "*spatial"]) -> float:
    """The intensity that best splits the values into two groups; above it lies the brighter one.

    Values that are not finite are left out; NaN where none is left. A constant image has its
    constant as threshold, and nothing lies above.

    Source: Otsu, A threshold selection method from gray-level histograms, IEEE Transactions on
    Systems, Man, and Cybernetics 9 (1979).
    """
    finite = values[np.isfinite(values)].astype(np.float64)
    if not finite.size:
        return float("nan")
    counts, edges = np.histogram(finite, BINS)
    centers = (edges[:-1] + edges[1:]) / 2
    if finite.min() == finite.max():
        return float(finite[0])
    below = np.cumsum(counts)[:-1]
    above = finite.size - below
    sums = np.cumsum(counts * centers)
    mean_below, mean_above = sums[:-1] / below, (sums[-1] - sums[:-1]) / above
    return float(centers[np.argmax(below * above * (mean_below - mean_above) ** 2)])


def otsu_dice(
    values: Real[np.ndarray, "*spatial"], reference: Bool[np.ndarray, "*spatial"]
) -> float:
    """Dice of Otsu's threshold, of the brighter or the darker side, whichever agrees better.

    Choosing the side by the reference makes this floor a generous one.
    """
    brighter = values > otsu_threshold(values)
    return max(dice(brighter, reference), dice(~brighter, reference))
