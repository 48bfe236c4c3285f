"""Pictures that drills send."""

from collections.abc import Sequence

import imagecodecs
import numpy as np


def picture(shape: Sequence[int], seed: int) -> bytes:
    """A PNG of waves."""
    y, x = np.mgrid[: shape[0], : shape[1]] / (7 + seed)
    pixels = 127 + 100 * np.sin(y) * np.cos(x)
    return bytes(imagecodecs.png_encode(pixels.astype(np.uint8), level=1))


def plain(shape: Sequence[int], value: int) -> bytes:
    """A PNG that is the same everywhere."""
    return bytes(imagecodecs.png_encode(np.full(shape, value, np.uint8)))
