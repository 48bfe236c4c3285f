"""Masks that are written part by part, whole or not at all."""

import gzip
from collections.abc import Iterator
from contextlib import ExitStack
from math import prod
from pathlib import Path
from typing import IO, cast

import numpy as np
import tifffile
from jaxtyping import UInt8

from seg.errors import UnsupportedImageError
from seg.files import replaced_file
from seg.images.grid.source import ImageSource
from seg.images.nifti.whole import nifti_of
from seg.images.tiff.whole import ome_description

TILE = 512
"""Width and height of a tile in pixels."""
LARGEST_CLASSIC_TIFF = 2**32 - 2**25

Parts = Iterator[UInt8[np.ndarray, "*slab"]]
"""Labels along the first spatial axis, in order, any number of rows at a time."""


def stream_tiff(path: Path, parts: Parts, grid: ImageSource) -> None:
    """An OME-TIFF of compressed tiles; BigTIFF where it might be needed."""
    shape = tuple(grid.spatial_shape)
    with tifffile.TiffWriter(path, bigtiff=prod(shape) > LARGEST_CLASSIC_TIFF, ome=True) as tiff:
        tiff.write(
            _tiles(parts, shape),
            shape=shape,
            dtype=np.uint8,
            tile=(TILE, TILE),
            photometric="minisblack",
            compression="zlib",
            compressionargs={"level": 1},
            **ome_description("ZYX"[-len(shape) :], grid.spacing),
        )


def stream_nifti(path: Path, parts: Parts, grid: ImageSource, *, zipped: bool = True) -> None:
    """A NIfTI file on the image's own affine; a flat image is one slice."""
    x_to_z = (*tuple(grid.spatial_shape)[::-1], 1)[:3]
    # nibabel takes size and type from an array, which may be one zero seen everywhere
    header = nifti_of(np.broadcast_to(np.uint8(0), x_to_z), grid).header
    header.set_data_offset(header.single_vox_offset)
    with ExitStack() as stack:
        file: IO[bytes] = stack.enter_context(path.open("wb"))
        if zipped:
            file = cast(IO[bytes], stack.enter_context(gzip.GzipFile("", "wb", 1, file, mtime=0)))
        header.write_to(file)
        for part in parts:
            file.write(np.ascontiguousarray(part).tobytes())


STREAMED_FORMATS = ("tiff", "nifti")
"""Formats of ``MASK_FORMATS`` that can be written part by part."""


def write_mask_parts(path: Path, parts: Parts, grid: ImageSource, format: str) -> None:
    """Write a mask part by part, whole or not at all.

    Args:
        path: a NIfTI file is gzipped unless this ends with ``.nii``.
        parts: labels.
        grid: where they lie.
        format: one of ``STREAMED_FORMATS``.

    Raises:
        UnsupportedImageError: the format can only be written as a whole.
    """
    if format not in STREAMED_FORMATS:
        raise UnsupportedImageError(
            f"large masks are written as {' or '.join(STREAMED_FORMATS)}, got {format!r}"
        )
    with replaced_file(path) as part:
        if format == "nifti":
            stream_nifti(part, parts, grid, zipped=not path.name.endswith(".nii"))
        else:
            stream_tiff(part, parts, grid)


def _tiles(parts: Parts, shape: tuple[int, ...]) -> Iterator[UInt8[np.ndarray, "y x"]]:
    for plane_rows in _bands(parts, shape):
        for x in range(0, shape[-1], TILE):
            tile = np.zeros((TILE, TILE), np.uint8)
            piece = plane_rows[:, x : x + TILE]
            tile[: piece.shape[0], : piece.shape[1]] = piece
            yield tile


def _bands(parts: Parts, shape: tuple[int, ...]) -> Iterator[UInt8[np.ndarray, "y x"]]:
    """Rows of one plane, as many as a tile is high."""
    if len(shape) == 3:
        for part in parts:
            for plane in part:
                yield from (plane[y : y + TILE] for y in range(0, shape[1], TILE))
        return
    band = np.empty((TILE, shape[1]), np.uint8)
    filled = 0
    for part in parts:
        while len(part):
            taken = part[: TILE - filled]
            band[filled : filled + len(taken)] = taken
            filled, part = filled + len(taken), part[len(taken) :]
            if filled == TILE:
                yield band
                filled = 0
    if filled:
        yield band[:filled]
