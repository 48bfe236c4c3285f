"""How far what a network sees lies from what it saw in images like those of its training.

Source: Lee et al., A simple unified framework for detecting out-of-distribution samples and
adversarial attacks, NeurIPS 2018 (Mahalanobis distance of features; here of a diagonal covariance,
which few patches suffice for). Letters: ``b`` patches, ``f`` features.
"""

import base64

import numpy as np
from jaxtyping import Float, Float32

from seg.frozen import FrozenData

LARGEST = 10.0
"""Deviations that one feature may count: a single wild one is no other world."""
SMALLEST = 1e-3
"""Share of the median deviation that each feature has at least."""


class FeatureStatistics(FrozenData):
    """Mean and deviation of each feature over patches of held-back images; a few kB."""

    network: str
    """File of the network that sees them."""
    mean: str
    """float32, base64."""
    deviation: str
    usual: float
    """Median distance of held-back images, which they have by definition."""
    largest: float
    """From which on an image counts as unlike, in multiples of the usual."""

    @classmethod
    def of(
        cls, network: str, images: list[Float32[np.ndarray, "b f"]], allowance: float
    ) -> "FeatureStatistics":
        """Of the patches of some images, each measured by the others.

        Args:
            network: file of the network.
            images: features of the patches of each.
            allowance: factor by which an image may be farther than all of these.
        """
        distances = []
        for at, image in enumerate(images):
            others = [each for other, each in enumerate(images) if other != at] or images
            mean, deviation = _moments(np.concatenate(others))
            distances.append(_distance(image, mean, deviation))
        mean, deviation = _moments(np.concatenate(images))
        usual = float(np.median(distances))
        return cls(
            network=network,
            mean=_packed(mean),
            deviation=_packed(deviation),
            usual=usual,
            largest=allowance * max(distances) / usual,
        )

    def strangeness(self, features: Float32[np.ndarray, "b f"]) -> float:
        """Distance of an image's patches in multiples of the usual one; about 1 where it is alike.

        NaN where the features are another network's.
        """
        mean, deviation = _unpacked(self.mean), _unpacked(self.deviation)
        if features.ndim != 2 or features.shape[1] != len(mean) or not len(features):
            return float("nan")
        return _distance(features, mean, deviation) / self.usual


def _moments(
    features: Float32[np.ndarray, "b f"],
) -> tuple[Float[np.ndarray, " f"], Float[np.ndarray, " f"]]:
    deviation = features.std(axis=0, dtype=np.float64)
    floor = SMALLEST * float(np.median(deviation)) + np.finfo(np.float32).tiny
    return features.mean(axis=0, dtype=np.float64), np.maximum(deviation, floor)


def _distance(
    features: Float32[np.ndarray, "b f"],
    mean: Float[np.ndarray, " f"],
    deviation: Float[np.ndarray, " f"],
) -> float:
    deviations = np.clip((features - mean) / deviation, -LARGEST, LARGEST)
    return float(np.sqrt((deviations**2).mean(axis=1)).mean())


def _packed(values: Float[np.ndarray, " f"]) -> str:
    return base64.b64encode(values.astype("<f4").tobytes()).decode("ascii")


def _unpacked(text: str) -> Float32[np.ndarray, " f"]:
    return np.frombuffer(base64.b64decode(text), "<f4")
