"""Intensities to the range that a network likes. Letters: ``c`` channels."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Real

from seg.errors import ImageError
from seg.transforms.spec import Normalisation

PERCENTILES = (0.5, 99.5)
SMALLEST_DEVIATION = 1e-8


def normalise(
    array: Real[np.ndarray, "c *spatial"], rules: Sequence[Normalisation]
) -> Float32[np.ndarray, "c *spatial"]:
    """Each channel by its own rule.

    Raises:
        ImageError: the number of channels differs, or an intensity is NaN or infinite.
    """
    if len(array) != len(rules):
        raise ImageError(f"expected {len(rules)} channels, got {len(array)}")
    if not np.isfinite(array).all():
        raise ImageError("the image holds NaN or infinite intensities; replace them, e.g. by 0")
    return np.stack([_channel(channel, rule) for channel, rule in zip(array, rules, strict=True)])


def _channel(
    x: Real[np.ndarray, "*spatial"], rule: Normalisation
) -> Float32[np.ndarray, "*spatial"]:
    x = x.astype(np.float32)
    if rule.kind == "zscore":
        return _zscore(x, float(x.mean(dtype=np.float64)), float(x.std(dtype=np.float64)))
    if rule.kind == "percentile":
        low, high = np.percentile(x, PERCENTILES)
        x = np.clip(x, np.float32(low), np.float32(high))
        return _zscore(x, float(x.mean(dtype=np.float64)), float(x.std(dtype=np.float64)))
    low, high = np.float32(_given(rule.low)), np.float32(_given(rule.high))
    if rule.kind == "clip_zscore":
        return _zscore(np.clip(x, low, high), _given(rule.mean), _given(rule.std))
    return (x - low) / max(high - low, np.float32(SMALLEST_DEVIATION))


def _zscore(
    x: Float32[np.ndarray, "*spatial"], mean: float, std: float
) -> Float32[np.ndarray, "*spatial"]:
    return (x - np.float32(mean)) / np.float32(max(std, SMALLEST_DEVIATION))


def _given(number: float | None) -> float:
    assert number is not None  # Normalisation checks its own numbers
    return number
