"""Stacks, of which each frame is an image: moments of a time-lapse, slices, positions.

TIFF and OME-Zarr are read frame by frame. Of other volumes each slice is one, of NIfTI with a
fourth axis each moment; such a file is read once and kept while its frames are asked for.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from seg.errors import ImageError
from seg.images.grid.frames import Frame
from seg.images.grid.image import Image
from seg.images.grid.limits import DEFAULT_LIMITS, Limits, ReadOptions
from seg.images.reading import HEAD_BYTES, format_of, joined_channels, read_image
from seg.images.storage.files import Source, open_binary
from seg.images.tiff.whole import read_tiff, tiff_frames
from seg.images.zarr.names import is_zarr
from seg.images.zarr.ome_zarr import read_zarr_folder, zarr_frames
from seg.names import FrameAxis

PICTURES = ("PNG", "JPEG", "WebP", "BMP")
"""Formats that hold a single flat image."""


def frames_in(source: Source, axis: FrameAxis, limits: Limits = DEFAULT_LIMITS) -> int:
    """How many frames a file or folder holds.

    Without such an axis all is one frame, as a film of one moment often has none.

    Raises:
        ImageError: it cannot be read.
        UnsupportedImageError: one of several axes that nothing names may be meant.
    """
    if isinstance(source, Path) and source.is_dir() and is_zarr(source):
        return zarr_frames(source, axis)
    kind = _kind_of(source)
    if kind == "TIFF":
        with open_binary(source) as file:
            return tiff_frames(file, axis)
    if kind in PICTURES:
        return 1
    return _count(_volume(source, limits), axis)


def read_frame(
    source: Source, frame: Frame, *, dims: int | None = None, limits: Limits = DEFAULT_LIMITS
) -> Image:
    """One image of a stack.

    Raises:
        ImageError: as ``read_image``; the stack has no such frame.
    """
    path = source if isinstance(source, Path) else None
    name = path.name if path else None
    options = ReadOptions(
        dims=dims, limits=limits, folder=path.parent if path else None, frame=frame
    )
    if path and path.is_dir() and is_zarr(path):
        return replace(read_zarr_folder(path, options), file_name=name)
    kind = _kind_of(source)
    if kind == "TIFF":
        with open_binary(source) as file:
            return replace(read_tiff(file, options), file_name=name)
    if kind in PICTURES:
        if frame.number:
            raise ImageError(f"a {kind} file is one frame, there is no number {frame.number}")
        return read_image(source, dims=dims, limits=limits)
    volume = _volume(source, limits)
    array, count = volume.array, _count(volume, frame.axis)
    if not 0 <= frame.number < count:
        raise ImageError(f"the stack has {count} frames, there is no number {frame.number}")
    if frame.axis == "t" and volume.channels > 1:
        array = array[frame.number : frame.number + 1]
    if frame.axis == "z":
        array = array[:, [frame.number]]
    if frame.axis != "z" and (dims != 2 or array.shape[1] > 1):
        return replace(volume, array=array)
    spacing = volume.spacing and volume.spacing[1:]
    return Image(np.ascontiguousarray(array[:, 0]), spacing=spacing, file_name=name)


def read_frame_channels(
    sources: Sequence[Source], frame: Frame, *, dims: int | None, limits: Limits
) -> Image:
    """One image of stacks that hold a channel each, or of one that holds all.

    Raises:
        ImageError: as ``read_channels`` and ``read_frame``.
    """
    frames = (read_frame(source, frame, dims=dims, limits=limits) for source in sources)
    return joined_channels(frames, limits)


def _kind_of(source: Source) -> str | None:
    """The name of its format; None of a folder."""
    if isinstance(source, Path) and source.is_dir():
        return None
    with open_binary(source) as file:
        return format_of(file.read(HEAD_BYTES)).name


def _count(volume: Image, axis: FrameAxis) -> int:
    """Frames of a volume that is read as a whole."""
    return {"z": volume.spatial_shape[0], "t": volume.channels, "position": 1}[axis]


def _volume(source: Source, limits: Limits) -> Image:
    if isinstance(source, Path) and limits == DEFAULT_LIMITS:
        return _kept(source, source.stat().st_mtime_ns)
    return read_image(source, dims=3, limits=limits)


@lru_cache(maxsize=1)
def _kept(path: Path, changed: int) -> Image:
    return read_image(path, dims=3)
