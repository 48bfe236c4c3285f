"""Where the intensities of an image lie, by percentiles: few bright pixels do not move them."""

from math import gcd

import numpy as np
from jaxtyping import Float, Real

from seg.transforms.spec import CommonScale

PERCENTILES = (0.5, 5.0, 16.0, 50.0, 84.0, 95.0, 99.5)
"""16 and 84 lie one deviation from the median of a normal distribution."""
MEDIAN = 3
SPREADS = ((2, 4, 2.0), (1, 5, 3.29), (0, 6, 5.15))
"""Pairs of the percentiles, and their distance in deviations of a normal distribution."""
MOST_VOXELS = 1_000_000
"""Of a channel, spread evenly, from which percentiles are taken."""


class Levels:
    """Percentiles of a channel."""

    def __init__(self, percentiles: Float[np.ndarray, "7"]) -> None:
        self.percentiles = percentiles

    @classmethod
    def of(cls, sample: Real[np.ndarray, " n"]) -> "Levels":
        """Of some of its voxels."""
        return cls(percentiles_of(sample, PERCENTILES))

    @property
    def median(self) -> float:
        """Half of the voxels are darker."""
        return float(self.percentiles[MEDIAN])

    @property
    def spread(self) -> float:
        """As large as the deviation of a normal distribution; 1 where all voxels are the same.

        Half the distance of the 16th and 84th percentiles; of farther ones where these are one
        number, as in a head within much air.
        """
        for below, above, deviations in SPREADS:
            distance = float(self.percentiles[above] - self.percentiles[below])
            if distance > 0:
                return distance / deviations
        return 1.0

    def lies_on(self, scale: CommonScale) -> bool:
        """Whether the channel can be taken as the training's images were."""
        low, high = scale.middle
        bottom, top = self.percentiles[1], self.percentiles[5]
        return bool(bottom >= scale.bottom and low <= self.median <= high and top <= scale.top)


def sampling_step(shape: tuple[int, ...]) -> int:
    """Every which voxel is looked at, in the order of memory, of a channel of that size."""
    step = max(1, int(np.prod(shape, dtype=np.int64)) // MOST_VOXELS)
    while gcd(step, shape[-1]) > 1:  # else it would meet the same columns in every row
        step += 1
    return step


def sample_of(channel: Real[np.ndarray, "*spatial"]) -> Real[np.ndarray, " n"]:
    """Voxels that stand for all, at most about ``MOST_VOXELS``."""
    return channel.reshape(-1)[:: sampling_step(channel.shape)]


def noise_of(channel: Real[np.ndarray, "*spatial"]) -> float:
    """Deviation of the noise, by the differences of neighbours along the last axis.

    Half of the neighbours lie in one and the same object or background, so edges do not count.
    """
    step = sampling_step(channel.shape)
    flat = channel.reshape(-1)
    right = flat[1::step]
    left = flat[::step][: len(right)]
    if not len(right):
        return 0.0
    if channel.dtype.kind in "iu" and channel.dtype.itemsize <= 2:
        differences = np.abs(right.astype(np.int32) - left).astype(np.uint16)
        middle = float(percentiles_of(differences, (50.0,))[0])
    else:
        wide = np.abs(right.astype(np.float64) - left.astype(np.float64))
        middle = float(np.median(wide))
    return float(middle / (0.6745 * np.sqrt(2)))


def percentiles_of(
    sample: Real[np.ndarray, " n"], percentiles: tuple[float, ...]
) -> Float[np.ndarray, " p"]:
    """``np.percentile(sample, percentiles)``; short integers are counted, five times as fast."""
    if sample.dtype.kind not in "iu" or sample.itemsize > 2:
        return np.asarray(np.percentile(sample.astype(np.float64), percentiles))
    least = int(sample.min())
    up_to = np.bincount(sample.astype(np.intp) - least).cumsum()
    places = np.array(percentiles) / 100 * (sample.size - 1)
    below, above = (
        np.searchsorted(up_to, rank, side="right") for rank in (np.floor(places), np.ceil(places))
    )
    return np.asarray(least + below + (above - below) * (places % 1))
