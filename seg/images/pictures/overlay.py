"""How a mask is drawn on its image: intensities to grey, classes to colours and contours.

Letters: ``c`` channels.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32, Integer, Real, UInt8

from seg.images.grid.classes import ClassInfo

FILL = 0.25
"""Share of the class colour within a region; the contour has all of it."""

PERCENTILES = (0.5, 99.5)
"""Of the intensities shown black and white, where no window says which."""

Window = tuple[float, float]
"""Intensities shown black and white."""

SAMPLES = 2**16
"""Pixels that the percentiles are taken from."""

PIXELS_A_CONTOUR = 400
"""A picture of this many pixels gets a contour of one."""


def fullest_slice(labels: Integer[np.ndarray, "z y x"]) -> int:
    """Index of the slice with the most foreground, the middle one where there is none."""
    counts = np.array([np.count_nonzero(plane) for plane in labels])
    return int(counts.argmax()) if counts.any() else len(counts) // 2


def as_rgb(
    channels: Real[np.ndarray, "c y x"], windows: Sequence[Window] = ()
) -> UInt8[np.ndarray, "y x 3"]:
    """Three 8-bit channels as they are, anything else as the grey mean of stretched channels.

    Args:
        channels: Intensities.
        windows: One a channel; without them the channel's own percentiles.
    """
    windows = windows or [window_of(channel) for channel in channels]
    if len(channels) == 3 and channels.dtype == np.uint8:
        return np.ascontiguousarray(np.moveaxis(channels, 0, -1))
    pairs = zip(channels, windows, strict=True)
    stretched = np.mean([_stretched(channel, window) for channel, window in pairs], axis=0)
    grey = (stretched * 255).round().astype(np.uint8)
    return np.repeat(grey[..., np.newaxis], 3, axis=2)


def blend_colours(
    picture: UInt8[np.ndarray, "y x 3"],
    labels: Integer[np.ndarray, "y x"],
    classes: Sequence[ClassInfo],
) -> UInt8[np.ndarray, "y x 3"]:
    """The picture with the classes' colours over all but background."""
    width = max(1, min(labels.shape) // PIXELS_A_CONTOUR)
    table = _blending_table(classes)
    look = 2 * labels.astype(np.intp) + contours(labels, width)
    drawn: UInt8[np.ndarray, "y x 3"] = table[look[..., np.newaxis], np.arange(3), picture]
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


def _blending_table(classes: Sequence[ClassInfo]) -> UInt8[np.ndarray, "looks 3 256"]:
    """What becomes of the values 0 to 255; looks are class 0, its contour, class 1, ..."""
    table = np.zeros((2 * (max(entry.index for entry in classes) + 1), 3, 256), np.uint8)
    values = np.arange(256)
    for entry in classes:
        color = np.array(entry.color)[:, np.newaxis]
        table[2 * entry.index] = (1 - FILL) * values + FILL * color
        table[2 * entry.index + 1] = color
    table[:2] = values  # background is left as it is
    return table


def window_of(channel: Real[np.ndarray, "y x"]) -> Window:
    """The percentiles of a sample, or the extremes where these are one."""
    step = max(1, int((channel.size / SAMPLES) ** 0.5))
    sample = _finite(channel[::step, ::step])
    low, high = np.percentile(sample, PERCENTILES)
    if high <= low:
        whole = _finite(channel)
        low, high = whole.min(), whole.max()
    return float(low), float(high)


def _finite(values: Real[np.ndarray, "y x"]) -> Float32[np.ndarray, "y x"]:
    """A copy, NaN and infinities as 0."""
    copy: Float32[np.ndarray, "y x"] = values.astype(np.float32)
    np.nan_to_num(copy, copy=False, posinf=0.0, neginf=0.0)
    return copy


def _stretched(channel: Real[np.ndarray, "y x"], window: Window) -> Float32[np.ndarray, "y x"]:
    """0 to 1 within the window; NaN is black where 0 is."""
    values = _finite(channel)
    low, high = window
    if high <= low:
        return np.zeros_like(values)
    values -= np.float32(low)
    values /= np.float32(high - low)
    return np.clip(values, 0, 1, out=values)
