"""TIFF, part by part: the tiles or strips of a region are decoded, and nothing else.

Letters: ``c`` channels.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Real, Shaped
from tifffile import PHOTOMETRIC, TiffFile, TiffPage, TiffPageSeries

from seg.errors import ImageError, ImageTooLargeError
from seg.images.grid.axes import Axes
from seg.images.grid.image import Affine, Spacing
from seg.images.grid.limits import ReadOptions
from seg.images.grid.orientation import turned_source
from seg.images.grid.plausible import check_spacing
from seg.images.grid.source import ImageSource
from seg.images.grid.upright import upright_turn
from seg.images.storage.decoding_room import decoding_room
from seg.images.storage.files import BinaryFile
from seg.images.storage.zarr_library import zarr_library
from seg.images.tiff.spacing import spacing_of
from seg.images.tiff.structure import check_extent, check_pages, main_series, orientation_of
from seg.images.tiff.whole import (
    DECODING_ERRORS,
    as_seen,
    check_samples,
    check_size,
    decoded_part,
    opacity_of,
    samples_at_a_time,
    turned_note,
)

LARGEST_CHUNK = 2**28
"""Bytes of a tile or strip once decoded; it is the least that can be read."""

FEWEST_ROWS = 64
"""Rows that are decoded together where strips are lower."""


@contextmanager
def opened_tiff(
    path: Path | None, file: BinaryFile, options: ReadOptions, *, step: int = 1
) -> Iterator[ImageSource | None]:
    """The image in the file; None where the file must be read as a whole.

    That is so of a palette, and of compressed strips that are columns once they are turned upright.

    Args:
        path: of the file, which is mapped where its pixels lie there as they are.
        file: that is read.
        options: what is wanted of it.
        step: pixels along an edge for which one is enough: of a pyramid, its coarsest level with
            so many is opened.

    Raises:
        ImageError: as ``read_tiff``.
    """
    orientations = check_pages(file)
    try:
        with TiffFile(file, name="image.tif", _multifile=False) as tiff:
            orientation = orientation_of(main_series(tiff), orientations)
            source = _source(path, file, tiff, options, step)
            if source is None:
                yield None
                return
            turn = upright_turn(orientation, len(source.spatial_shape))
            if turn.axes[-2] > turn.axes[-1] and not source.has_columns:
                yield None
                return
            source.notes = turned_note(turn, orientation)
            yield turned_source(source, turn)
    except ImageError:
        raise
    except DECODING_ERRORS as error:
        raise _damaged(error) from error


def _damaged(error: Exception) -> ImageError:
    return ImageError(
        f"the TIFF is damaged, cut short or in a compression that is not read ({error}); "
        "send the whole file, or save it without compression"
    )


def _level(series: TiffPageSeries, step: int | float) -> TiffPageSeries:
    """The coarsest level of a pyramid of which no pixel stands for more than ``step``."""

    def width(level: TiffPageSeries) -> int:
        return int(level.shape[level.axes.index("X")])

    fine = [each for each in series.levels if width(each) * step >= width(series)]
    return min(fine, key=width)


def _source(
    path: Path | None, file: BinaryFile, tiff: TiffFile, options: ReadOptions, step: int | float
) -> "TiffSource | None":
    whole = series = main_series(tiff)
    if options.largest_pixel is not None:
        spacing = spacing_of(tiff, whole.keyframe, 2)
        step = 1 if spacing is None else max(1.0, options.largest_pixel / max(spacing))
    if step > 1 and "X" in series.axes:
        series = _level(series, step)
    page = series.keyframe
    check_extent(file, tiff, series)
    check_samples(page, series)
    if page.photometric == PHOTOMETRIC.PALETTE and not tiff.is_imagej:
        return None
    axes = Axes.of(series.get_axes(squeeze=False), series.get_shape(squeeze=False), options.dims)
    check_size(page, axes, options.limits, channels=axes.channels)
    if (
        series.dataoffset is None
        and prod(page.chunks) * np.dtype(page.dtype).itemsize > LARGEST_CHUNK
    ):
        raise ImageTooLargeError(
            f"a compressed strip or tile of {page.chunks} pixels does not fit in the memory that "
            "is set aside; save the TIFF with tiles of 512 x 512"
        )
    spacing, reduction = spacing_of(tiff, whole.keyframe, axes.dims), None
    if series is not whole:
        full = Axes.of(whole.get_axes(squeeze=False), whole.get_shape(squeeze=False), options.dims)
        reduction = tuple(n / m for n, m in zip(full.spatial, axes.spatial, strict=True))
        if spacing is not None:
            spacing = tuple(mm * ratio for mm, ratio in zip(spacing, reduction, strict=True))
    return TiffSource(path or file, _Opened(tiff, series, page, axes, spacing, reduction))


@dataclass(frozen=True, eq=False, slots=True)
class _Opened:
    tiff: TiffFile
    series: TiffPageSeries
    page: TiffPage
    axes: Axes
    spacing: Spacing | None
    reduction: tuple[float, ...] | None
    """Of a coarser level."""


class TiffSource:
    """An ``ImageSource``."""

    affine: Affine | None = None
    unit = "mm"
    nifti: bytes | None = None
    notes: tuple[str, ...] = ()

    def __init__(self, file: BinaryFile | Path, opened: _Opened) -> None:
        self._file, self._opened = file, opened
        self._chunks: Any = None
        self._kept: tuple[tuple[slice, ...], np.ndarray] | None = None
        self.spatial_shape: tuple[int, ...] = opened.axes.spatial
        self.spacing: Spacing | None = opened.spacing
        if opened.spacing is not None:
            check_spacing(opened.spacing, len(opened.spacing))
        self.reduction: tuple[float, ...] | None = opened.reduction
        self.channels = len(self.read((slice(0, 1),) * opened.axes.dims))

    @property
    def has_columns(self) -> bool:
        """A few columns can be read alone: of compressed strips all would have to be decoded."""
        return self._opened.series.dataoffset is not None or self._opened.page.is_tiled

    def read(self, region: tuple[slice, ...]) -> Real[np.ndarray, "c *region"]:
        """The intensities of a region.

        Raises:
            ImageError: the file is damaged there.
        """
        axes = self._opened.axes
        wanted = dict(zip("ZYX"[-axes.dims :], region, strict=True))
        index = tuple(
            wanted.get(letter, slice(0, n))
            for letter, n in zip(axes.letters, axes.shape, strict=True)
        )
        shape = tuple(part.stop - part.start for part in index)
        try:
            with decoding_room(samples_at_a_time(self._opened.page)):
                pixels = self._pixels(index)
        except DECODING_ERRORS as error:
            raise _damaged(error) from error
        arranged = replace(axes, shape=shape).arrange(pixels)
        array = as_seen(self._opened.tiff, self._opened.page, arranged, labels=False)
        opacity = opacity_of(array, self._opened.series)
        array = np.delete(array, opacity, axis=0) if opacity else array
        return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))

    def _pixels(self, index: tuple[slice, ...]) -> Shaped[np.ndarray, "..."]:
        series, tiff = self._opened.series, self._opened.tiff
        full = series.get_shape(squeeze=False)
        if series.dataoffset is not None:
            dtype = np.dtype(series.dtype).newbyteorder(tiff.byteorder)
            if isinstance(self._file, io.BytesIO):
                content = self._file.getbuffer()
                return np.array(np.ndarray(full, dtype, content, series.dataoffset)[index])
            # mapped anew for each region: a page that stays mapped counts as memory in use
            file = np.memmap(self._file, dtype, "r", series.dataoffset, full)
            return np.array(file[index])
        if self._opened.axes.dims == 3:
            return self._decoded(index)
        at = self._opened.axes.letters.index("Y")
        found: np.ndarray | None = None
        for rows in self._rows_of_chunks(index[at], full[at]):
            chunks = self._kept_chunks((*index[:at], rows, *index[at + 1 :]))
            first, last = max(rows.start, index[at].start), min(rows.stop, index[at].stop)
            if found is None:
                shape = (*chunks.shape[:at], index[at].stop - index[at].start)
                found = np.empty((*shape, *chunks.shape[at + 1 :]), chunks.dtype)
            around = (slice(None),) * at
            to = (*around, slice(first - index[at].start, last - index[at].start))
            found[to] = chunks[(*around, slice(first - rows.start, last - rows.start))]
        assert found is not None
        return found

    def _rows_of_chunks(self, wanted: slice, size: int) -> Iterator[slice]:
        page = self._opened.page
        height = min(page.tilelength if page.is_tiled else page.rowsperstrip, size)
        height *= -(-FEWEST_ROWS // height)
        for start in range(wanted.start // height * height, wanted.stop, height):
            yield slice(start, min(start + height, size))

    def _kept_chunks(self, index: tuple[slice, ...]) -> Shaped[np.ndarray, "..."]:
        """Rows of whole tiles or strips, of which the last ones are kept.

        Few rows are read at a time, and tiles decoded anew for each of them cost most of the time.
        """
        if self._kept is None or self._kept[0] != index:
            self._kept = None
            self._kept = (index, self._decoded(index))
        return self._kept[1]

    def _decoded(self, index: tuple[slice, ...]) -> Shaped[np.ndarray, "..."]:
        series = self._opened.series
        if self._chunks is None:
            self._chunks = zarr_library().open(series.aszarr(level=0, read_only=True), mode="r")
        return decoded_part(series, self._chunks, index)
