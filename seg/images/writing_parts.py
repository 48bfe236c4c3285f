"""Masks that are written part by part, whole or not at all."""

import gzip
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, cast

import numpy as np
import tifffile
from jaxtyping import Shaped, UInt8, UInt32

from seg.errors import UnsupportedImageError
from seg.files import replaced_file
from seg.images.grid.classes import ClassInfo
from seg.images.grid.image import Mask
from seg.images.grid.source import ImageSource
from seg.images.measures.measurements import table_of
from seg.images.measures.summary import count_labels, summary_of
from seg.images.measures.tally import Tally
from seg.images.nifti.whole import nifti_of
from seg.images.outlines.coco import UNNAMED, stream_rle
from seg.images.outlines.geojson import stream_geojson
from seg.images.tiff.whole import ome_description

TILE = 512
"""Width and height of a tile in pixels."""
BAND_PIXELS = 2**22
"""Pixels that are outlined at once."""
SMALLEST_LEVEL = 2048
"""Longest edge of a level below which there is no other."""
LARGEST_CLASSIC_TIFF = 2**32 - 2**25

Parts = Iterator[UInt8[np.ndarray, "*slab"]] | Iterator[UInt32[np.ndarray, "*slab"]]
"""Classes, or numbers of objects, along the first spatial axis, in order, any number of rows at a
time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What is known of a mask beside its labels and where they lie."""

    classes: Sequence[ClassInfo] = ()
    image: ImageSource | None = None
    """Whose intensities are measured; read while the parts are made, so that it must not be the
    source that they are made of."""
    name: str = UNNAMED
    """Of the image's file."""


NOTHING_KNOWN = Known()


def stream_tiff(
    path: Path, parts: Parts, grid: ImageSource, kind: type[np.unsignedinteger] = np.uint8
) -> None:
    """An OME-TIFF of compressed tiles; BigTIFF where it might be needed."""
    shape = tuple(grid.spatial_shape)
    is_big = prod(shape) * np.dtype(kind).itemsize > LARGEST_CLASSIC_TIFF
    with tifffile.TiffWriter(path, bigtiff=is_big, ome=True) as tiff:
        tiff.write(
            _tiles(parts, shape, kind),
            shape=shape,
            dtype=kind,
            tile=(TILE, TILE),
            photometric="minisblack",
            compression="zlib",
            compressionargs={"level": 1},
            **ome_description("ZYX"[-len(shape) :], grid.spacing),
        )


def stream_nifti(
    path: Path,
    parts: Parts,
    grid: ImageSource,
    *,
    zipped: bool = True,
    kind: type[np.unsignedinteger] = np.uint8,
) -> None:
    """A NIfTI file on the image's own affine; a flat image is one slice."""
    x_to_z = (*tuple(grid.spatial_shape)[::-1], 1)[:3]
    # nibabel takes size and type from an array, which may be one zero seen everywhere
    header = nifti_of(np.broadcast_to(kind(0), x_to_z), grid).header
    header.set_data_offset(header.single_vox_offset)
    with ExitStack() as stack:
        file: IO[bytes] = stack.enter_context(path.open("wb"))
        if zipped:
            file = cast(IO[bytes], stack.enter_context(gzip.GzipFile("", "wb", 1, file, mtime=0)))
        header.write_to(file)
        for part in parts:
            file.write(np.ascontiguousarray(part).tobytes())


OUTLINES = ("geojson", "rle")
"""Formats of pictures only, where they are written part by part."""

STREAMED_FORMATS = ("tiff", "nifti", *OUTLINES, "csv", "json")
"""Formats of ``MASK_FORMATS`` that can be written part by part."""


def stream_table(path: Path, parts: Parts, grid: ImageSource, known: Known) -> None:
    """The measurements of each class, with the intensities of the image where it is given."""
    shape = tuple(grid.spatial_shape)
    tally, start = Tally(max(entry.index for entry in known.classes) + 1), 0
    for part in parts:
        region = (slice(start, start + len(part)), *(slice(0, n) for n in shape[1:]))
        tally.add(part, None if known.image is None else known.image.read(region))
        start += len(part)
    channels = 0 if known.image is None else known.image.channels
    path.write_bytes(table_of(tally, known.classes, len(shape), extent_of(grid), channels))


def stream_summary(
    path: Path, parts: Parts, grid: ImageSource, classes: Sequence[ClassInfo]
) -> None:
    """How much of the image each class takes."""
    size = max(entry.index for entry in classes) + 1
    counts = np.zeros(size, np.int64)
    for part in parts:
        counts += count_labels(part, size)
    shape = tuple(grid.spatial_shape)
    path.write_bytes(summary_of(counts, classes, shape, grid.spacing, extent_of(grid)))


def stream_outlines(path: Path, parts: Parts, grid: ImageSource, format: str, facts: Known) -> None:
    """Polygons or run lengths of each part of a picture, as soon as it is whole.

    Raises:
        UnsupportedImageError: a volume.
    """
    if len(grid.spatial_shape) != 2:
        raise UnsupportedImageError(
            f"{format} of a volume of this size is not written; take tiff or nifti"
        )
    height, width = grid.spatial_shape
    bands = _bands(parts, (height, width), max(1, BAND_PIXELS // width))
    with path.open("wb") as file:
        if format == "geojson":
            stream_geojson(file, bands, facts.classes, grid)
        else:
            stream_rle(file, bands, facts.classes, (height, width), facts.name)


def extent_of(grid: ImageSource) -> float | None:
    """Volume of a voxel in mm³, or area of a pixel in mm²; None where it is not known."""
    zero = np.broadcast_to(np.uint8(0), tuple(grid.spatial_shape))
    return Mask(zero, spacing=grid.spacing, affine=grid.affine).voxel_extent


def write_mask_parts(
    path: Path,
    parts: Parts,
    grid: ImageSource,
    format: str,
    facts: Known = NOTHING_KNOWN,
) -> None:
    """Write a mask part by part, whole or not at all.

    Args:
        path: a NIfTI file is gzipped unless this ends with ``.nii``.
        parts: labels.
        grid: where they lie.
        format: one of ``STREAMED_FORMATS``.
        facts: what all formats but TIFF and NIfTI say beside the labels.

    Raises:
        UnsupportedImageError: the format can only be written as a whole.
    """
    if format not in STREAMED_FORMATS:
        raise UnsupportedImageError(
            f"large masks are written as {' or '.join(STREAMED_FORMATS)}, got {format!r}"
        )
    with replaced_file(path) as part:
        match format:
            case "nifti":
                stream_nifti(part, parts, grid, zipped=not path.name.endswith(".nii"))
            case "tiff":
                stream_tiff(part, parts, grid)
            case "csv":
                stream_table(part, parts, grid, facts)
            case "json":
                stream_summary(part, parts, grid, facts.classes)
            case _:
                stream_outlines(part, parts, grid, format, facts)


def write_objects_parts(path: Path, parts: Callable[[int], Parts], grid: ImageSource) -> None:
    """Write numbers of objects with 32 bits part by part, as TIFF or NIfTI by the path's ending.

    A TIFF of a slide is a pyramid, whose levels hold every second voxel of the one before.

    Args:
        path: of the file.
        parts: of every voxel for 1, of every second one along y and x for 2, and so on.
        grid: where the objects lie.
    """
    with replaced_file(path) as part:
        if path.name.endswith((".nii", ".nii.gz")):
            zipped = path.name.endswith(".gz")
            stream_nifti(part, parts(1), grid, zipped=zipped, kind=np.uint32)
        else:
            _stream_pyramid(part, parts, grid)


def _stream_pyramid(path: Path, parts: Callable[[int], Parts], grid: ImageSource) -> None:
    shape = tuple(grid.spatial_shape)
    steps = [1]
    while len(shape) == 2 and max(shape) > SMALLEST_LEVEL * steps[-1]:
        steps.append(2 * steps[-1])
    if len(steps) == 1:
        stream_tiff(path, parts(1), grid, np.uint32)
        return
    is_big = 2 * prod(shape) * np.dtype(np.uint32).itemsize > LARGEST_CLASSIC_TIFF
    with tifffile.TiffWriter(path, bigtiff=is_big, ome=True) as tiff:
        for step in steps:
            size = tuple(-(-length // step) for length in shape)
            role = ome_description("YX", grid.spacing) | {"subifds": len(steps) - 1}
            tiff.write(
                _tiles(parts(step), size, np.uint32),
                shape=size,
                dtype=np.uint32,
                tile=(TILE, TILE),
                photometric="minisblack",
                compression="zlib",
                compressionargs={"level": 1},
                **(role if step == 1 else {"subfiletype": 1}),
            )


def _tiles(
    parts: Parts, shape: tuple[int, ...], kind: type[np.unsignedinteger] = np.uint8
) -> Iterator[Shaped[np.ndarray, "y x"]]:
    for plane_rows in _bands(parts, shape, TILE, kind):
        for x in range(0, shape[-1], TILE):
            tile = np.zeros((TILE, TILE), kind)
            piece = plane_rows[:, x : x + TILE]
            tile[: piece.shape[0], : piece.shape[1]] = piece
            yield tile


def _bands(
    parts: Parts,
    shape: tuple[int, ...],
    height: int = TILE,
    kind: type[np.unsignedinteger] = np.uint8,
) -> Iterator[Shaped[np.ndarray, "y x"]]:
    """Rows of one plane, as many as a tile is high or as are asked for."""
    if len(shape) == 3:
        for part in parts:
            for plane in part:
                yield from (plane[y : y + height] for y in range(0, shape[1], height))
        return
    band = np.empty((height, shape[1]), kind)
    filled = 0
    for part in parts:
        while len(part):
            taken = part[: height - filled]
            band[filled : filled + len(taken)] = taken
            filled, part = filled + len(taken), part[len(taken) :]
            if filled == height:
                yield band
                filled = 0
    if filled:
        yield band[:filled]
