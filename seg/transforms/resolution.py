"""An image at another resolution than its file's. Letters: ``c`` channels."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Real
from scipy import sparse

from seg.errors import ImageError
from seg.images import Image, ImageSource, Spacing
from seg.images.grid.image import Affine
from seg.images.grid.limits import DEFAULT_LIMITS
from seg.transforms.resample import Window, resample_image_rows, resampled_shape, rows_needed

SAME = 0.01
"""Share by which a resolution may differ from the wished one: less is not worth a blur."""
FINEST = 4
"""How many times finer than the file's pixels may be wished: more would be made up."""
PART = 2**22
"""Intensities of the file that are at hand at once."""


def at_resolution(source: ImageSource, mm: float) -> ImageSource:
    """A picture with pixels of that size, or the picture itself where it has them.

    A coarser pixel is the mean of what it covers, by area; finer ones are interpolated.

    Raises:
        ImageError: how large a pixel is is not known, or it is far larger than what is wished.
    """
    spacing = source.spacing
    if spacing is None:
        raise ImageError(
            "a resolution was wished, and the image does not say how large a pixel is; save it "
            "with its pixel size, or leave --mpp out"
        )
    if max(spacing) > FINEST * mm:
        raise ImageError(
            f"a pixel of the image is {max(spacing) * 1000:g} micrometres large, and more than "
            f"{FINEST} times finer ones were wished; they would be made up"
        )
    if all(abs(old - mm) <= SAME * mm for old in spacing):
        return source
    return AtResolution(source, resampled_shape(source.spatial_shape, spacing, (mm, mm)))


class AtResolution:
    """An ``ImageSource`` of the same scene with other pixels."""

    nifti: bytes | None = None

    def __init__(self, source: ImageSource, shape: tuple[int, ...]) -> None:
        """Of a picture, at that size."""
        self._source = source
        self.spatial_shape = shape
        self.channels, self.unit, self.notes = source.channels, source.unit, source.notes
        ratios = tuple(n / m for n, m in zip(source.spatial_shape, shape, strict=True))
        self.spacing: Spacing | None = source.spacing and _times(source.spacing, ratios)
        self.reduction: tuple[float, ...] | None = _times(source.reduction or (1.0, 1.0), ratios)
        self.affine = None if source.affine is None else _scaled(source.affine, ratios)

    def read(self, region: tuple[slice, ...]) -> Real[np.ndarray, "c *region"]:
        """The intensities of a region, in the file's own type."""
        rows, columns = (range(side.start, side.stop) for side in region)
        height, width = self._source.spatial_shape
        is_coarser = self.spatial_shape[0] <= height and self.spatial_shape[1] <= width
        change = self._coarser if is_coarser else self._finer
        at_once = max(1, int(PART / self.channels / width / max(1, height / self.spatial_shape[0])))
        parts = []
        for start in range(rows.start, rows.stop, at_once):
            found, kind = change(range(start, min(start + at_once, rows.stop)), columns)
            if kind.kind in "iu":
                limits = np.iinfo(kind)
                found = np.rint(found).clip(limits.min, limits.max)
            parts.append(found.astype(kind))
        return np.concatenate(parts, axis=1)

    def _coarser(
        self, rows: range, columns: range
    ) -> tuple[Float[np.ndarray, "c *region"], np.dtype]:
        height, width = self._source.spatial_shape
        above, top, bottom = _shares(height, self.spatial_shape[0], rows)
        beside, left, right = _shares(width, self.spatial_shape[1], columns)
        pixels = self._source.read((slice(top, bottom), slice(left, right)))
        found = [(above @ channel.astype(np.float64)) @ beside.T for channel in pixels]
        return np.stack(found), pixels.dtype

    def _finer(
        self, rows: range, columns: range
    ) -> tuple[Float[np.ndarray, "c *region"], np.dtype]:
        height, width = self._source.spatial_shape
        needed = rows_needed(height, self.spatial_shape[0], rows)
        pixels = self._source.read((slice(needed.start, needed.stop), slice(0, width)))
        window = Window(needed.start, height)
        found = resample_image_rows(pixels, window, self.spatial_shape, rows)
        return found[..., columns.start : columns.stop], pixels.dtype


def in_memory(source: ImageSource) -> Image:
    """All of a picture.

    Raises:
        ImageTooLargeError: it does not fit.
    """
    if isinstance(source, Image):
        return source
    kind = source.read(tuple(slice(0, 1) for _ in source.spatial_shape)).dtype
    DEFAULT_LIMITS.check(tuple(source.spatial_shape), source.channels, kind.itemsize)
    return Image(
        source.read(tuple(slice(0, n) for n in source.spatial_shape)),
        spacing=source.spacing,
        affine=source.affine,
        unit=source.unit,
        reduction=source.reduction,
    )


def _times(sizes: Sequence[float], ratios: Sequence[float]) -> tuple[float, ...]:
    return tuple(size * ratio for size, ratio in zip(sizes, ratios, strict=True))


def _scaled(affine: Affine, ratios: Sequence[float]) -> Affine:
    """Of pixels whose outer edges are those of the image."""
    change = np.eye(4)
    for axis, ratio in enumerate(reversed(ratios)):
        change[axis, axis], change[axis, 3] = ratio, (ratio - 1) / 2
    return affine @ change


def _shares(size_in: int, size_out: int, rows: range) -> tuple[sparse.csr_array, int, int]:
    """What each input has of some outputs, by area; the first input and one behind the last."""
    edges = np.arange(rows.start, rows.stop + 1) * size_in / size_out
    low = np.floor(edges[:-1]).astype(np.intp)
    high = np.minimum(np.ceil(edges[1:]).astype(np.intp), size_in)
    inputs = low[:, np.newaxis] + np.arange((high - low).max())
    covered = np.minimum(inputs + 1, edges[1:, np.newaxis])
    covered -= np.maximum(inputs, edges[:-1, np.newaxis])
    weights = covered.clip(0) * (inputs < size_in)
    weights /= weights.sum(axis=1, keepdims=True)
    first, last = int(low[0]), int(high[-1])
    columns = np.minimum(inputs, size_in - 1) - first
    starts = np.arange(0, columns.size + 1, columns.shape[1])
    kept = (weights.ravel(), np.minimum(columns, last - first - 1).ravel(), starts)
    return sparse.csr_array(kept, shape=(len(rows), last - first)), first, last
