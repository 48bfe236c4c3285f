"""Stacks, of which each frame is an image: moments of a time-lapse, slices, positions.

TIFF and OME-Zarr are read frame by frame. Of other volumes each slice is one, of NIfTI with a
fourth axis each moment; such a file is read once and kept while its frames are asked for.
"""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from seg.images.grid.frames import Frame
from seg.images.grid.image import Image
from seg.images.grid.limits import DEFAULT_LIMITS, ReadOptions
from seg.images.reading import HEAD_BYTES, format_of, read_image
from seg.images.storage.files import open_binary
from seg.images.tiff.whole import read_tiff, tiff_frames
from seg.images.zarr.names import is_zarr
from seg.images.zarr.ome_zarr import read_zarr_folder, zarr_frames
from seg.names import FrameAxis

PICTURES = ("PNG", "JPEG", "WebP", "BMP")
"""Formats that hold a single flat image."""


def frames_in(path: Path, axis: FrameAxis) -> int:
    """How many frames a file or folder holds.

    Without such an axis all is one frame, as a film of one moment often has none.

    Raises:
        ImageError: it cannot be read.
        UnsupportedImageError: one of several axes that nothing names may be meant.
    """
    if path.is_dir() and is_zarr(path):
        return zarr_frames(path, axis)
    if _is_tiff(path):
        with open_binary(path) as file:
            return tiff_frames(file, axis)
    if _is_picture(path):
        return 1
    volume = _kept(path, path.stat().st_mtime_ns)
    return {"z": volume.spatial_shape[0], "t": volume.channels, "position": 1}[axis]


def read_frame(path: Path, frame: Frame, *, dims: int | None = None) -> Image:
    """One image of a stack.

    Raises:
        ImageError: as ``read_image``; the stack has no such frame.
    """
    options = ReadOptions(dims=dims, limits=DEFAULT_LIMITS, folder=path.parent, frame=frame)
    if path.is_dir() and is_zarr(path):
        return replace(read_zarr_folder(path, options), file_name=path.name)
    if _is_tiff(path):
        with open_binary(path) as file:
            return replace(read_tiff(file, options), file_name=path.name)
    if _is_picture(path):
        return read_image(path, dims=dims)
    volume = _kept(path, path.stat().st_mtime_ns)
    array = volume.array
    if frame.axis == "t" and volume.channels > 1:
        array = array[frame.number : frame.number + 1]
    if frame.axis == "z":
        array = array[:, [frame.number]]
    if frame.axis != "z" and (dims != 2 or array.shape[1] > 1):
        return replace(volume, array=array)
    spacing = volume.spacing and volume.spacing[1:]
    return Image(np.ascontiguousarray(array[:, 0]), spacing=spacing, file_name=path.name)


def _is_picture(path: Path) -> bool:
    if path.is_dir():
        return False
    with open_binary(path) as file:
        return format_of(file.read(HEAD_BYTES)).name in PICTURES


def _is_tiff(path: Path) -> bool:
    if path.is_dir():
        return False
    with open_binary(path) as file:
        return format_of(file.read(HEAD_BYTES)).name == "TIFF"


@lru_cache(maxsize=1)
def _kept(path: Path, changed: int) -> Image:
    return read_image(path, dims=3)
