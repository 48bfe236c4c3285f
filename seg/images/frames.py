"""Stacks, of which each frame is an image: moments of a time-lapse, slices, positions.

TIFF and OME-Zarr are read frame by frame. Of other volumes each slice is one, of NIfTI with a
fourth axis each moment; such a file is read once and kept while its frames are asked for.
"""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from seg.errors import UnsupportedImageError
from seg.images.grid.frames import Frame
from seg.images.grid.image import Image
from seg.images.grid.limits import DEFAULT_LIMITS, ReadOptions
from seg.images.reading import HEAD_BYTES, format_of, read_image
from seg.images.storage.files import open_binary
from seg.images.tiff.whole import read_tiff, tiff_frames
from seg.images.zarr.names import is_zarr
from seg.images.zarr.ome_zarr import read_zarr_folder, zarr_frames
from seg.names import FrameAxis


def frames_in(path: Path, axis: FrameAxis) -> int:
    """How many frames a file or folder holds.

    Raises:
        ImageError: it cannot be read.
        UnsupportedImageError: it has no such axis.
    """
    if path.is_dir() and is_zarr(path):
        return zarr_frames(path, axis)
    if _is_tiff(path):
        with open_binary(path) as file:
            return tiff_frames(file, axis)
    volume = _kept(path, path.stat().st_mtime_ns)
    if axis == "z":
        return volume.spatial_shape[0]
    if axis == "t" and volume.channels > 1:
        return volume.channels
    raise UnsupportedImageError(
        f"there is no axis {axis} to take each of in {path.name}; TIFF and OME-Zarr name their axes"
    )


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
    volume = _kept(path, path.stat().st_mtime_ns)
    if frame.axis == "t":
        return replace(volume, array=volume.array[frame.number : frame.number + 1])
    plane = np.ascontiguousarray(volume.array[:, frame.number])
    spacing = volume.spacing and volume.spacing[1:]
    return Image(plane, spacing=spacing, file_name=path.name)


def _is_tiff(path: Path) -> bool:
    if path.is_dir():
        return False
    with open_binary(path) as file:
        return format_of(file.read(HEAD_BYTES)).name == "TIFF"


@lru_cache(maxsize=1)
def _kept(path: Path, changed: int) -> Image:
    return read_image(path, dims=3)
