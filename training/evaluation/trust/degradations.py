"""What the world does to images: the ways in which those of other days and places differ.

Each way takes an image in the intensities of its file, its labels and a strength from 0 to 1, and
keeps labels and image in step. Strengths go from what is seen in any laboratory to what a person
would not trust either. Letters: ``c`` channels.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float32, Real, UInt8
from scipy import ndimage

from training.dataset.legend import IGNORE
from training.dataset.painting import painted_out

_Image = Float32[np.ndarray, "c *spatial"]
_Labels = UInt8[np.ndarray, "*spatial"]
Degradation = Callable[[_Image, _Labels, float, np.random.Generator], tuple[_Image, _Labels]]

PERCENTILES = (0.5, 50.0, 99.5)
MOST_OBJECTS = 2
"""Of a class, that are left in a nearly empty image."""


def degraded(
    name: str,
    image: Real[np.ndarray, "c *spatial"],
    labels: _Labels,
    strength: float,
    rng: np.random.Generator,
) -> tuple[Real[np.ndarray, "c *spatial"], _Labels]:
    """The image as that way leaves it, in the type and the limits of numbers that it had."""
    changed, moved = DEGRADATIONS[name](image.astype(np.float32), labels, strength, rng)
    if image.dtype.kind not in "iu":
        return changed.astype(image.dtype), moved
    limits = np.iinfo(image.dtype)
    return np.rint(changed).clip(limits.min, limits.max).astype(image.dtype), moved


def _levels(image: _Image) -> tuple[Any, Any, Any]:
    """Low, middle and high intensity of each channel, for broadcasting."""
    axes = tuple(range(1, image.ndim))
    low, middle, high = np.percentile(image, PERCENTILES, axis=axes).astype(np.float32)
    shape = (-1, *(1,) * (image.ndim - 1))
    high = np.where(high > low, high, low + 1)
    return low.reshape(shape), middle.reshape(shape), high.reshape(shape)


def _noise(image: _Image, labels: _Labels, strength: float, rng: np.random.Generator) -> Any:
    low, _, high = _levels(image)
    noise = rng.standard_normal(image.shape, np.float32)
    return image + np.float32(0.05 + 0.45 * strength) * (high - low) * noise, labels


def _blur(image: _Image, labels: _Labels, strength: float, rng: np.random.Generator) -> Any:
    sigma = 1 + 3 * strength
    along = (0,) * (image.ndim - 2) + (sigma, sigma)
    return ndimage.gaussian_filter(image, along), labels


def _contrast(image: _Image, labels: _Labels, strength: float, rng: np.random.Generator) -> Any:
    _, middle, _ = _levels(image)
    return middle + np.float32(0.7 - 0.6 * strength) * (image - middle), labels


def _gamma(image: _Image, labels: _Labels, strength: float, rng: np.random.Generator) -> Any:
    low, _, high = _levels(image)
    power = 1 + 2 * strength if rng.random() < 0.5 else 1 / (1 + 2 * strength)
    relative = np.clip((image - low) / (high - low), 0, None)
    return low + (high - low) * relative ** np.float32(power), labels


def _light(image: _Image, labels: _Labels, strength: float, rng: np.random.Generator) -> Any:
    low, _, _ = _levels(image)
    angle = rng.uniform(0, 2 * np.pi)
    y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in image.shape[-2:])
    slope = np.sin(angle) * y[:, None] + np.cos(angle) * x
    factor = 1 + (0.3 + 0.6 * strength) * slope / np.abs(slope).max()
    return low + (image - low) * factor.astype(np.float32), labels


def _inverted(image: _Image, labels: _Labels, strength: float, rng: np.random.Generator) -> Any:
    low, _, high = _levels(image)
    return low + high - image, labels


def _zoomed(factor: Callable[[float], float]) -> Degradation:
    def zoom(image: _Image, labels: _Labels, strength: float, rng: np.random.Generator) -> Any:
        in_plane = (1.0,) * (labels.ndim - 2) + (factor(strength),) * 2
        return (
            np.stack([ndimage.zoom(channel, in_plane, order=1) for channel in image]),
            ndimage.zoom(labels, in_plane, order=0),
        )

    return zoom


def _depth(image: _Image, labels: _Labels, strength: float, rng: np.random.Generator) -> Any:
    low, _, high = _levels(image)
    steps = round(255 * (1 - strength) + 8 * strength)
    return np.rint(np.clip((image - low) / (high - low), 0, 1) * steps), labels


def _dropped_channel(
    image: _Image, labels: _Labels, strength: float, rng: np.random.Generator
) -> Any:
    _, middle, _ = _levels(image)
    changed, gone = image.copy(), int(rng.integers(len(image)))
    changed[gone] = middle[gone]
    return changed, labels


def _turned(image: _Image, labels: _Labels, strength: float, rng: np.random.Generator) -> Any:
    """Slices along another axis than in training; nothing that a network would mind in 2D."""
    return np.swapaxes(image, 1, -1).copy(), np.swapaxes(labels, 0, -1).copy()


def _nearly_empty(image: _Image, labels: _Labels, strength: float, rng: np.random.Generator) -> Any:
    objects, count = ndimage.label((labels > 0) & (labels != IGNORE))
    left = round(MOST_OBJECTS * (1 - strength))
    kept = rng.permutation(count)[:left] + 1
    painted, rest = painted_out(image, np.where(np.isin(objects, kept), IGNORE, labels), rng)
    return painted, np.where(np.isin(objects, kept), labels, rest).astype(np.uint8)


DEGRADATIONS: Mapping[str, Degradation] = {
    "noise": _noise,
    "blur": _blur,
    "contrast": _contrast,
    "gamma": _gamma,
    "uneven light": _light,
    "inverted": _inverted,
    "zoomed out": _zoomed(lambda strength: 0.8 - 0.3 * strength),
    "zoomed in": _zoomed(lambda strength: 1.25 + 0.75 * strength),
    "bit depth": _depth,
    "dropped channel": _dropped_channel,
    "turned": _turned,
    "nearly empty": _nearly_empty,
}
"""By name."""


def degradations_of(dims: int, channels: int) -> list[str]:
    """Names of the ways in which an image of that kind may differ."""
    unlikely = {"dropped channel": channels == 1, "turned": dims == 2}
    return [name for name in DEGRADATIONS if not unlikely.get(name)]
