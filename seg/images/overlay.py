"""A mask drawn on its image, for people.

Letters: ``c`` channels.
"""

from collections.abc import Sequence

import numpy as np
import PIL.Image
from jaxtyping import Bool, Float32, Integer, Real, UInt8

from seg.errors import ImageError
from seg.images.classes import ClassInfo
from seg.images.image import Image, Mask
from seg.images.raster import png_bytes

FILL = 0.35
"""Share of the class colour within a region; the contour has all of it."""

PERCENTILES = (0.5, 99.5)
"""Intensities shown black and white."""

SAMPLES = 2**18
"""Pixels that the percentiles are taken from."""

PIXELS_A_CONTOUR = 400
"""A picture of this many pixels gets a contour of one."""


def encode_overlay(mask: Mask, classes: Sequence[ClassInfo], image: Image | None) -> bytes:
    """A PNG of the image in grey (RGB as it is) with filled and outlined classes.

    Of a volume, the slice with the most foreground is drawn.

    Raises:
        ImageError: there is no image, or it lies on another grid.
    """
    if image is None:
        raise ImageError("an overlay is drawn on the image that was segmented; pass image=...")
    if image.spatial_shape != mask.spatial_shape:
        raise ImageError(
            f"a mask of {mask.spatial_shape} cannot be drawn on an image of {image.spatial_shape}"
        )
    labels, channels = mask.array, image.array
    if mask.dims == 3:
        z = fullest_slice(labels)
        labels, channels = labels[z], channels[:, z]
    picture = blend(as_rgb(channels), labels, classes)
    return png_bytes(PIL.Image.fromarray(picture))


def fullest_slice(labels: Integer[np.ndarray, "z y x"]) -> int:
    """Index of the slice with the most foreground, the middle one where there is none."""
    counts = np.array([np.count_nonzero(plane) for plane in labels])
    return int(counts.argmax()) if counts.any() else len(counts) // 2


def as_rgb(channels: Real[np.ndarray, "c y x"]) -> UInt8[np.ndarray, "y x 3"]:
    """Three 8-bit channels as they are, anything else as the grey mean of stretched channels."""
    if len(channels) == 3 and channels.dtype == np.uint8:
        return np.ascontiguousarray(np.moveaxis(channels, 0, -1))
    stretched = np.mean([_stretched(channel) for channel in channels], axis=0)
    grey = (stretched * 255).round().astype(np.uint8)
    return np.repeat(grey[..., np.newaxis], 3, axis=2)


def blend(
    picture: UInt8[np.ndarray, "y x 3"],
    labels: Integer[np.ndarray, "y x"],
    classes: Sequence[ClassInfo],
) -> UInt8[np.ndarray, "y x 3"]:
    """The picture with the classes' colours over all but background."""
    colors = np.zeros((max(entry.index for entry in classes) + 1, 3), np.uint8)
    for entry in classes:
        colors[entry.index] = entry.color
    width = max(1, min(labels.shape) // PIXELS_A_CONTOUR)
    drawn = picture.copy()
    inside = labels > 0
    drawn[inside] = ((1 - FILL) * picture[inside] + FILL * colors[labels[inside]]).astype(np.uint8)
    edge = contours(labels, width)
    drawn[edge] = colors[labels[edge]]
    return drawn


def contours(labels: Integer[np.ndarray, "y x"], width: int) -> Bool[np.ndarray, "y x"]:
    """Foreground within ``width`` pixels, along an axis, of another class."""
    edge = np.zeros(labels.shape, bool)
    for step in range(1, width + 1):
        rows = labels[step:] != labels[:-step]
        columns = labels[:, step:] != labels[:, :-step]
        edge[step:] |= rows
        edge[:-step] |= rows
        edge[:, step:] |= columns
        edge[:, :-step] |= columns
    return edge & (labels > 0)


def _stretched(channel: Real[np.ndarray, "y x"]) -> Float32[np.ndarray, "y x"]:
    """0 to 1 between the percentiles; NaN is black."""
    values = np.nan_to_num(channel.astype(np.float32), posinf=0.0, neginf=0.0)
    step = max(1, int((values.size / SAMPLES) ** 0.5))
    low, high = np.percentile(values[::step, ::step], PERCENTILES)
    if high <= low:
        low, high = float(values.min()), float(values.max())
    if high <= low:
        return np.zeros_like(values)
    stretched: Float32[np.ndarray, "y x"] = (values - low) / (high - low)
    return stretched.clip(0, 1).astype(np.float32)
