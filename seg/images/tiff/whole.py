"""TIFF: flat images and stacks, with channels and physical units, through tifffile.

Written as OME-TIFF, which Fiji, QuPath, napari and Bio-Formats open with axes and spacing. A
picture is turned upright as its orientation tag says, as Pillow, OpenCV and viewers do; ImageJ,
QuPath and napari do not, and that is told. Letters: ``c`` channels.
"""

import hashlib
import io
import logging
import uuid
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any
from xml.etree.ElementTree import ParseError

import numpy as np
import tifffile
from jaxtyping import Real, Shaped, UInt8
from tifffile import PHOTOMETRIC, TiffFile, TiffPage, TiffPageSeries

from seg.errors import ImageError, UnsupportedImageError
from seg.images.grid.axes import Axes
from seg.images.grid.frames import Frame, frame_axis, frame_count, frame_index, of_frame
from seg.images.grid.image import Image, Mask, Spacing
from seg.images.grid.limits import Limits, ReadOptions
from seg.images.grid.opacity import check_opaque, varies
from seg.images.grid.orientation import Turn
from seg.images.grid.upright import upright_turn
from seg.images.storage.decoding_room import decoding_room
from seg.images.storage.files import DAMAGE, BinaryFile
from seg.images.storage.zarr_library import zarr_library
from seg.images.tiff.calibration import calibrated
from seg.images.tiff.spacing import spacing_of
from seg.images.tiff.structure import (
    check_extent,
    check_lossless,
    check_pages,
    main_series,
    orientation_of,
    pictures_in,
    series_at,
)
from seg.names import FrameAxis
from seg.sentences import Sentence

# tifffile quotes tags in its remarks, and a tag may hold a patient's name. What matters is raised.
logging.getLogger("tifffile").addFilter(lambda record: False)

WRITABLE = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
"""The pixel types of OME-TIFF."""

ALPHA = (1, 2)
MAX_BYTE = 255
TIFFFILE = "tifffile.py"
"""What it calls itself in the files that it writes."""

PLAIN = (
    PHOTOMETRIC.MINISWHITE,
    PHOTOMETRIC.MINISBLACK,
    PHOTOMETRIC.RGB,
    PHOTOMETRIC.PALETTE,
    PHOTOMETRIC.MASK,
)
"""Photometric interpretations whose samples are intensities as they stand."""

DECODING_ERRORS = (*DAMAGE, tifffile.TiffFileError, ParseError)


def read_tiff(file: BinaryFile, options: ReadOptions) -> Image:
    """The image, with the spacing in mm where the file states a physical unit.

    Axes come from OME, ImageJ or tifffile metadata. Pages that nothing names are channels where
    2 spatial axes are wanted, and z otherwise. A print resolution (inch, or the usual dots per
    inch told in centimetres) is no calibration: a wrong spacing is worse than none.
    """
    orientations = check_pages(file)
    try:
        # One file only: an OME header may name others, and they are not ours to open.
        with TiffFile(file, name="image.tif", _multifile=False) as tiff:
            return _read(file, tiff, options, orientations)
    except ImageError:
        raise
    except DECODING_ERRORS as error:
        raise ImageError(
            f"the TIFF is damaged, cut short or in a compression that is not read ({error}); "
            "send the whole file, or save it without compression"
        ) from error


def encode_tiff(grid: Image | Mask, *, names: Sequence[str] = ()) -> bytes:
    """An OME-TIFF of the image or of the labels, uncompressed for images.

    Args:
        grid: What is written.
        names: Of the channels.

    Raises:
        UnsupportedImageError: OME-TIFF has no such pixel type.
    """
    labels = isinstance(grid, Mask)
    array = grid.stored if isinstance(grid, Mask) else grid.array
    if array.dtype.name not in WRITABLE:
        raise UnsupportedImageError(
            f"a TIFF holds {', '.join(WRITABLE)}, got {array.dtype}; convert to float32"
        )
    # OME wants a name for the file; one drawn at random would make equal images unequal files
    name = str(uuid.uuid5(uuid.NAMESPACE_OID, hashlib.sha256(array.tobytes()).hexdigest()))
    axes = ("" if labels else "C") + "ZYX"[-grid.dims :]
    description = ome_description(axes, grid.spacing)
    description["metadata"]["UUID"] = name
    if names:
        description["metadata"]["Channel"] = {"Name": list(names)}
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        array,
        ome=True,
        photometric="minisblack",
        compression="zlib" if labels else None,
        compressionargs={"level": 1} if labels else None,
        **description,
    )
    return buffer.getvalue()


def ome_description(axes: str, spacing: Spacing | None) -> dict[str, Any]:
    """What ``tifffile`` is told of the axes and of the pixel size in mm."""
    metadata: dict[str, object] = {"axes": axes}
    if spacing is None:
        return {"metadata": metadata}
    for axis, mm in zip(axes[-len(spacing) :], spacing, strict=True):
        metadata |= {f"PhysicalSize{axis}": mm, f"PhysicalSize{axis}Unit": "mm"}
    y_mm, x_mm = spacing[-2:]
    resolution = (10 / x_mm, 10 / y_mm)
    return {"metadata": metadata, "resolution": resolution, "resolutionunit": "CENTIMETER"}


def turned_note(turn: Turn, orientation: int) -> tuple[str, ...]:
    """What is to be said of a picture that is turned upright."""
    if turn.is_nothing:
        return ()
    sentence = (
        f"the TIFF is turned upright, as its orientation tag ({orientation}) says and as viewers "
        "do; ImageJ, QuPath and napari show it as it is stored, and what is drawn there does not "
        "lie on it"
    )
    return (Sentence(sentence, "turned_upright", orientation=orientation),)


def _read(
    file: BinaryFile, tiff: TiffFile, options: ReadOptions, orientations: Mapping[int, int]
) -> Image:
    series, index = _wanted(tiff, options.frame)
    page, orientation = series.keyframe, orientation_of(series, orientations)
    check_extent(file, tiff, series)
    check_samples(page, series)
    if options.labels:
        check_lossless(file, page)
    letters, shape = series.get_axes(squeeze=False), series.get_shape(squeeze=False)
    if index is not None:
        letters, shape = of_frame(letters, shape, index)
    axes = Axes.of(letters, shape, options.dims)
    palette = _palette(tiff, page, options)
    check_size(page, axes, options.limits, channels=3 if palette is not None else axes.channels)
    with decoding_room(samples_at_a_time(page)):
        if index is None:
            pixels = series.asarray().reshape(shape)
        else:
            pixels = decoded_part(
                series, zarr_library().open(series.aszarr(level=0, read_only=True), mode="r"), index
            )
    array = as_seen(tiff, page, axes.arrange(pixels), options.labels)
    notes: tuple[str, ...] = ()
    if palette is not None:
        array = palette[:, array[0]]
    else:
        opacity = opacity_of(array, series)
        notes = () if options.labels else _left_out(array[opacity])
        without = np.delete(array, opacity, axis=0) if opacity else array
        if options.labels:
            check_opaque(without, array[opacity])
        array = without
    turn, spacing = upright_turn(orientation, axes.dims), spacing_of(tiff, page, axes.dims)
    array = np.ascontiguousarray(turn.there(array), dtype=array.dtype.newbyteorder("="))
    notes += () if options.labels else turned_note(turn, orientation)
    return Image(array, spacing=spacing and turn.numbers(spacing), notes=notes)


def _left_out(opacity: Real[np.ndarray, "c *spatial"]) -> tuple[str, ...]:
    """What is to be said where transparency is not the same everywhere, so that it says something.

    ``tifffile`` writes an array of four channels as red, green, blue and transparency where it is
    not told that they are channels.
    """
    if not varies(opacity):
        return ()
    return (
        "a channel was left out, which the TIFF calls transparency (alpha); if it is a channel "
        "like the others, write it anew with photometric='minisblack'",
    )


def _wanted(tiff: TiffFile, frame: Frame | None) -> tuple[TiffPageSeries, tuple[slice, ...] | None]:
    """The series, and the part of it that is a frame where one is wanted."""
    if frame is None:
        return main_series(tiff), None
    if frame.axis == "position" and len(pictures_in(tiff)) > 1:
        return series_at(tiff, frame.number), None
    series = main_series(tiff)
    letters, shape = series.get_axes(squeeze=False), series.get_shape(squeeze=False)
    return series, frame_index(letters, shape, frame)


def samples_at_a_time(page: TiffPage) -> int:
    """How many of a page are decoded together: strips or tiles, one a thread."""
    return int(prod(page.chunks)) * max(1, min(page.maxworkers, prod(page.chunked)))


def decoded_part(
    series: TiffPageSeries, chunks: Any, index: tuple[slice, ...]
) -> Shaped[np.ndarray, "..."]:
    """A part of a series, from its chunks as zarr has them."""
    full = series.get_shape(squeeze=False)
    long = tuple(part for part, n in zip(index, full, strict=True) if n > 1)
    squeezed = len(chunks.shape) == len(long)
    found = np.asarray(chunks[long if squeezed else index])
    return found.reshape([part.stop - part.start for part in index])


def tiff_frames(file: BinaryFile, axis: FrameAxis) -> int:
    """How many frames a TIFF holds along an axis.

    Raises:
        ImageError: it is damaged, or has no such axis.
    """
    check_pages(file)
    try:
        with TiffFile(file, name="image.tif", _multifile=False) as tiff:
            if axis == "position" and len(pictures_in(tiff)) > 1:
                return len(pictures_in(tiff))
            series = main_series(tiff)
            letters, shape = series.get_axes(squeeze=False), series.get_shape(squeeze=False)
            return frame_count(shape, frame_axis(letters, shape, axis))
    except ImageError:
        raise
    except DECODING_ERRORS as error:
        raise ImageError(f"the TIFF is damaged or cut short ({error}); send all of it") from error


def check_samples(page: TiffPage, series: TiffPageSeries) -> None:
    """Pass where the samples are intensities.

    Raises:
        UnsupportedImageError: they are something else.
    """
    if series.dtype is None or series.dtype.kind not in "buif":
        raise UnsupportedImageError(
            f"a TIFF of whole or real numbers is needed, got {series.dtype}; "
            "save magnitude or intensity"
        )
    converted = page.photometric == PHOTOMETRIC.YCBCR and page.compression in (6, 7)
    if page.photometric not in PLAIN and not converted:
        name = getattr(page.photometric, "name", page.photometric)
        raise UnsupportedImageError(
            f"a grey, RGB or palette TIFF is needed, got {name}; convert it to RGB"
        )


def check_size(page: TiffPage, axes: Axes, limits: Limits, channels: int) -> None:
    """Pass where the image, and each of its tiles, is small enough.

    Raises:
        ImageTooLargeError: it is not.
    """
    itemsize = np.dtype(page.dtype).itemsize
    limits.check(axes.spatial, channels, itemsize)
    if page.tile is not None:  # a small image may be said to lie in one enormous tile
        limits.check(page.tile, page.samplesperpixel, itemsize)


def _palette(
    tiff: TiffFile, page: TiffPage, options: ReadOptions
) -> UInt8[np.ndarray, "3 n"] | None:
    """Colours (3, number of entries) where the file's numbers stand for colours."""
    # ImageJ writes its display colours as a palette: the numbers are still the measurement.
    if (
        page.photometric != PHOTOMETRIC.PALETTE
        or options.labels
        or tiff.is_imagej
        or page.colormap is None
    ):
        return None
    if page.colormap.max() <= MAX_BYTE:  # some fill the 16 bits of an entry with 8
        return page.colormap.astype(np.uint8)
    return (page.colormap >> 8).astype(np.uint8)


def as_seen(
    tiff: TiffFile, page: TiffPage, pixels: Shaped[np.ndarray, "c *spatial"], labels: bool
) -> Real[np.ndarray, "c *spatial"]:
    """One-bit pictures as bytes, white where the file says that 0 is white, ImageJ's values.

    tifffile writes arrays of truth values as they are, and says that 0 is white; it, and what reads
    by it (scikit-image, napari), gives them back as they were.
    """
    if tiff.is_imagej and pixels.dtype.kind == "u" and pixels.dtype.itemsize <= 2:
        pixels = calibrated(pixels, tiff.imagej_metadata or {})
    bilevel = pixels.dtype == bool
    as_stored = tiff.is_imagej or (bilevel and page.software == TIFFFILE)
    inverted = page.photometric == PHOTOMETRIC.MINISWHITE and not as_stored
    if bilevel:
        pixels = (pixels != inverted).astype(np.uint8)
        return pixels if labels else pixels * np.uint8(255)
    if inverted and not labels and pixels.dtype.kind == "u":
        pixels = np.full_like(pixels, 2**page.bitspersample - 1) - pixels
    return pixels


def opacity_of(array: Real[np.ndarray, "c *spatial"], series: TiffPageSeries) -> list[int]:
    """Which channels tell how opaque colours or grey are; none of those that it calls channels."""
    page = series.keyframe
    if "S" not in series.get_axes(squeeze=False):
        return []
    opacity = [n for n, kind in enumerate(page.extrasamples) if kind in ALPHA]
    colors = page.samplesperpixel - len(page.extrasamples)
    if not opacity or len(array) != page.samplesperpixel or colors not in (1, 3):
        return []
    return [colors + n for n in opacity]
