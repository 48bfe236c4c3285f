"""Intensities to the range that a network likes. Letters: ``c`` channels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Real

from seg.errors import ImageError
from seg.transforms.levels import Levels, sample_of
from seg.transforms.spec import Normalisation

PERCENTILES = (0.5, 99.5)
SMALLEST_DEVIATION = 1e-8
BY_LEVELS = ("reference", "robust")
"""Rules that look at an image's percentiles, and at some of its voxels only."""


def check_finite(array: Real[np.ndarray, "c *spatial"]) -> None:
    """Pass where every intensity is a number.

    Raises:
        ImageError: an intensity is NaN or infinite.
    """
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ImageError("the image holds NaN or infinite intensities; replace them, e.g. by 0")


def normalise(
    array: Real[np.ndarray, "c *spatial"], rules: Sequence[Normalisation]
) -> Float32[np.ndarray, "c *spatial"]:
    """Each channel by its own rule.

    Raises:
        ImageError: the number of channels differs, or an intensity is NaN or infinite.
    """
    if len(array) != len(rules):
        raise ImageError(f"expected {len(rules)} channels, got {len(array)}")
    check_finite(array)
    return np.stack([scaling_of(x, rule).apply(x) for x, rule in zip(array, rules, strict=True)])


@dataclass(frozen=True, slots=True)
class Scaling:
    """A channel's rule with all its numbers: clip, then ``(x - mean) / std``."""

    mean: np.float32
    std: np.float32
    low: np.float32 | None = None
    high: np.float32 | None = None

    @classmethod
    def of(
        cls, mean: float, std: float, low: float | None = None, high: float | None = None
    ) -> "Scaling":
        """The numbers as float32, without a division by nothing."""
        clip = (
            None if low is None else np.float32(low),
            None if high is None else np.float32(high),
        )
        return cls(np.float32(mean), np.float32(max(std, SMALLEST_DEVIATION)), *clip)

    def apply(self, x: Real[np.ndarray, "*spatial"]) -> Float32[np.ndarray, "*spatial"]:
        """The intensities that the network sees."""
        return self.apply_in_place(x.astype(np.float32))

    def apply_in_place(self, x: Float32[np.ndarray, "*spatial"]) -> Float32[np.ndarray, "*spatial"]:
        """The same where nobody needs what there was."""
        if self.low is not None and self.high is not None:
            np.clip(x, self.low, self.high, out=x)
        x -= self.mean
        x /= self.std
        return x


def fixed_scaling(rule: Normalisation) -> Scaling | None:
    """The scaling of a rule that asks nothing of the image; None of the others."""
    if rule.kind == "clip_zscore":
        return Scaling.of(_given(rule.mean), _given(rule.std), rule.low, rule.high)
    if rule.kind == "rescale":
        low, high = np.float32(_given(rule.low)), np.float32(_given(rule.high))
        return Scaling.of(float(low), float(high - low))
    return None


def reference_scaling(rule: Normalisation) -> Scaling:
    """The scaling of images that lie on the scale of a rule ``reference``."""
    return Scaling.of(_given(rule.mean), _given(rule.std), rule.low, rule.high)


def scaling_of_levels(levels: Levels, rule: Normalisation) -> Scaling:
    """The scaling of a rule that looks at percentiles: ``reference`` or ``robust``."""
    if rule.scale is None:
        centre, spread = 0.0, 1.0
    elif levels.lies_on(rule.scale):
        return reference_scaling(rule)
    else:
        centre, spread = rule.scale.median, rule.scale.spread

    def here(value: float | None) -> float:
        """An intensity of the rule, in those of this image."""
        return levels.median + (_given(value) - centre) / spread * levels.spread

    deviation = _given(rule.std) / spread * levels.spread
    return Scaling.of(here(rule.mean), deviation, here(rule.low), here(rule.high))


def scaling_of(x: Real[np.ndarray, "*spatial"], rule: Normalisation) -> Scaling:
    """The scaling of one whole channel."""
    if fixed := fixed_scaling(rule):
        return fixed
    if rule.kind in BY_LEVELS:
        return scaling_of_levels(Levels.of(sample_of(x)), rule)
    x = x.astype(np.float32, copy=False)
    low, high = None, None
    if rule.kind == "percentile":
        low, high = (float(p) for p in np.percentile(x, PERCENTILES))
        x = np.clip(x, np.float32(low), np.float32(high))
    if rule.kind == "minmax":
        return Scaling.of(float(x.min()), float(x.max()) - float(x.min()))
    mean, std = float(x.mean(dtype=np.float64)), float(x.std(dtype=np.float64))
    return Scaling.of(mean, std, low, high)


def _given(number: float | None) -> float:
    assert number is not None  # Normalisation checks its own numbers
    return number
