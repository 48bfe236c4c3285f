"""Whether a probability of 0.8 means right eight times out of ten.

Counts of several images, or of parts of one, may be added up before they are judged.
"""

import numpy as np
from jaxtyping import Bool, Float, Float64

BINS = 15
"""Of equal width, as in the source."""
BLOCK = 2**20
"""Voxels counted at once: counting casts them to 8 bytes each."""


def reliability(
    confidence: Float[np.ndarray, "*spatial"], is_right: Bool[np.ndarray, "*spatial"]
) -> Float64[np.ndarray, "3 bins"]:
    """Voxels, sum of confidences and voxels that are right, in each bin of confidence.

    Args:
        confidence: probability of what is claimed of a voxel, in [0, 1].
        is_right: whether the claim holds.
    """
    counts = np.zeros((3, BINS))
    claimed, right = confidence.reshape(-1), is_right.reshape(-1)
    for start in range(0, claimed.size, BLOCK):
        block = slice(start, start + BLOCK)
        bins = np.minimum((claimed[block] * BINS).astype(np.intp), BINS - 1)
        for row, weights in enumerate((None, claimed[block], right[block])):
            counts[row] += np.bincount(bins, weights, minlength=BINS)
    return counts


def expected_calibration_error(counts: Float64[np.ndarray, "3 bins"]) -> float:
    """Mean distance of confidence and accuracy over the bins, weighted by voxels, in [0, 1].

    NaN where nothing was counted.

    Source: Guo et al., On calibration of modern neural networks, ICML 2017.
    """
    voxels, confidence, right = counts
    total = voxels.sum()
    return float(np.abs(confidence - right).sum() / total) if total else float("nan")
