"""The part of an image that is wanted. Letters: ``c`` channels, ``k`` channels of logits.

It is cut out on the network's grid, after the intensities were scaled as those of the whole image,
with half a patch around it: what is said of it is what would be said in the whole.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float32

from seg.images.outlines.roi import RegionOfInterest
from seg.inference.tiling.blending import Slab
from seg.transforms import Rows, Scaling

Box = tuple[slice, ...]


class PartOfRows:
    """Some rows and columns of a prepared image."""

    box: None = None
    nearest_axis: None = None

    def __init__(self, image: Rows, part: Box) -> None:
        """Of an image that was not cut already."""
        self._image, self._part = image, part
        self.shape: tuple[int, ...] = (image.shape[0], *(s.stop - s.start for s in part))
        self.original_shape: tuple[int, ...] = self.shape[1:]
        self.scalings: Sequence[Scaling] = image.scalings

    def rows(self, start: int, stop: int) -> Float32[np.ndarray, "c *slab"]:
        """Some rows of the part."""
        first, *others = self._part
        whole = self._image.rows(first.start + start, first.start + stop)
        return whole[(slice(None), slice(None), *others)]


def around(box: Box, shape: Sequence[int], grid: Sequence[int], patch: Sequence[int]) -> Box:
    """A box of an image on the network's grid, with half a patch around it."""
    return tuple(
        slice(
            max(0, side.start * n // size - length // 2),
            min(n, -(-side.stop * n // size) + length // 2),
        )
        for side, size, n, length in zip(box, shape, grid, patch, strict=True)
    )


def within(
    slabs: Iterator[Slab],
    region: RegionOfInterest,
    width: int,
    background: Float32[np.ndarray, " k"],
) -> Iterator[Slab]:
    """The logits inside of a region, and those of background elsewhere."""
    empty = background.reshape(-1, 1, 1)
    for slab in slabs:
        inside = region.rows(slab.start, slab.stop, width)
        yield replace(slab, logits=np.where(inside, slab.logits, empty))
