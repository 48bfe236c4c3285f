"""Preprocessing of an image that need not fit in memory. Letters: ``c`` channels."""

from collections.abc import Iterator, Sequence
from math import prod
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from seg.images import Image, ImageSource
from seg.transforms.intensity import Scaling, check_finite
from seg.transforms.preparation import check_channels, prepare
from seg.transforms.resample import Window, resample_image_rows, resampled_shape, rows_needed
from seg.transforms.spec import Preprocessing
from seg.transforms.statistics import scalings_of_parts

WHOLE_BYTES = 2**27
"""A prepared image up to this size is held in memory as a whole."""
PART_BYTES = 2**24
"""About what is prepared at a time of a larger one."""
FEWEST_ROWS = 32
"""Rows of a part that is resampled, so that its neighbours are not read too often."""


@runtime_checkable
class Rows(Protocol):
    """An image as the network wants it, had row by row along its first spatial axis."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels and size on the network's grid."""
        ...

    @property
    def original_shape(self) -> tuple[int, ...]:
        """Size to which the mask must return."""
        ...

    @property
    def box(self) -> tuple[slice, ...] | None:
        """The part of the original image that this is; None where it is all of it."""
        ...

    @property
    def nearest_axis(self) -> int | None:
        """The axis along which logits find back by nearest neighbour."""
        ...

    @property
    def scalings(self) -> Sequence[Scaling]:
        """What was done to the intensities, one a channel."""
        ...

    def rows(self, start: int, stop: int) -> Float32[np.ndarray, "c *slab"]:
        """Some rows."""
        ...


def prepare_rows(source: ImageSource, spec: Preprocessing, whole_bytes: int = WHOLE_BYTES) -> Rows:
    """What ``prepare`` makes of an image, in bounded memory, but with the convention ``nnunet``.

    There the whole image must be seen to tell what of it is cut off.

    Raises:
        ImageError: the channels differ from the model's, or an intensity is not finite; of a large
            image the latter may be found only when its rows are read.
    """
    grid = resampled_shape(source.spatial_shape, source.spacing, spec.spacing)
    if spec.convention == "nnunet" or 4 * source.channels * prod(grid) <= whole_bytes:
        whole = source.read(tuple(slice(0, n) for n in source.spatial_shape))
        return prepare(Image(whole, spacing=source.spacing), spec)
    return StreamedRows(source, spec)


class StreamedRows:
    """Rows that are read, resampled and normalised when they are asked for.

    What a normalisation must know of the whole image is found in passes over it beforehand.
    """

    box: None = None
    nearest_axis: None = None

    def __init__(self, source: ImageSource, spec: Preprocessing) -> None:
        check_channels(source.channels, spec)
        self._source = source
        self._grid = resampled_shape(source.spatial_shape, source.spacing, spec.spacing)
        self.shape: tuple[int, ...] = (source.channels, *self._grid)
        self.original_shape: tuple[int, ...] = tuple(source.spatial_shape)
        self.scalings: tuple[Scaling, ...] = scalings_of_parts(
            spec.normalisation, self._parts, self._grid
        )

    def rows(self, start: int, stop: int) -> Float32[np.ndarray, "c *slab"]:
        """Some rows, normalised.

        Raises:
            ImageError: an intensity is NaN or infinite.
        """
        slab = np.empty((self.shape[0], stop - start, *self._grid[1:]), np.float32)
        step = self._rows_a_part()
        for first in range(start, stop, step):
            last = min(first + step, stop)
            for channel, scaling, x in zip(
                slab, self.scalings, self._resampled(range(first, last)), strict=True
            ):
                channel[first - start : last - start] = scaling.apply(x)
        return slab

    def _parts(self) -> Iterator[Float32[np.ndarray, "c *slab"]]:
        step = self._rows_a_part()
        for first in range(0, self._grid[0], step):
            yield self._resampled(range(first, min(first + step, self._grid[0])))

    def _rows_a_part(self) -> int:
        fitting = PART_BYTES // (4 * self.shape[0] * prod(self._grid[1:]))
        is_resampled = self._grid[0] != self.original_shape[0]
        return max(fitting, FEWEST_ROWS if is_resampled else 1)

    def _resampled(self, rows: range) -> Float32[np.ndarray, "c *slab"]:
        shape, spacing = self.original_shape, self._source.spacing
        needed = rows_needed(shape[0], self._grid[0], rows)
        region = (slice(needed.start, needed.stop), *(slice(0, n) for n in shape[1:]))
        array = self._source.read(region)
        check_finite(array)
        if self._grid == shape:
            return array.astype(np.float32)
        window = Window(needed.start, shape[0])
        return resample_image_rows(array, window, self._grid, rows, spacing)
