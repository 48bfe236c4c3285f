"""What a browser is shown of an image. Letters: ``c`` channels."""

import io
import json
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Real

from seg.errors import ImageError, UnsupportedImageError
from seg.images import Image, Limits, encode_image, encode_picture, frames_in
from seg.images.pictures.overlay import as_rgb, window_of
from seg.images.pictures.sheets import as_png
from seg.images.storage.files import Source
from seg.images.tiff.reduced import Box, read_reduced, sampled
from seg.names import FRAME_AXES, FrameAxis
from service.decoding.tasks import read

FRAME_BYTES = 64_000_000
"""Of an answer with frames, after which the next request goes on."""
COARSE = 1024
"""Pixels along an edge of that from which grey is stretched, so that all parts are alike."""


def show(  # noqa: PLR0913 - each is a word of the query
    sources: Sequence[Source],
    *,
    dims: int,
    limits: Limits,
    numbers: bool,
    box: Sequence[int] | None,
    longest: int,
    frame: tuple[FrameAxis, int] | None,
) -> tuple[Any, str, list[int]]:
    """A PNG of an image, a NIfTI file of a volume, as bytes in an array; media type, size (x, y).

    The PNG is grey as that of the overlay is, and of the mask's size, unless that has an edge above
    ``longest``: then it shows every second, third, ... pixel.

    Args:
        sources: one file a channel, or one for all.
        dims: of the image.
        limits: on its size.
        numbers: of a flat image, as NPY of shape (c, y, x), the same pixels as the PNG has.
        box: the part of a flat image that is shown: left, top, width, height; None is all of it.
        longest: most pixels along an edge of what is shown.
        frame: of a stack, by its axis and its number.

    Raises:
        ImageError: the files are no image of that many dimensions, or the part lies beyond it.
    """
    part: Box | None = tuple(box) if box else None  # type: ignore[assignment]
    if dims == 2 and frame is None:
        reduced = _reduced(sources, limits, part, longest)
        if reduced:
            channels, (height, width) = reduced
            if numbers:
                return *_as_numbers(channels), [width, height]
            windows = []
            if part and not (len(channels) == 3 and channels.dtype == np.uint8):
                coarse = _reduced(sources, limits, None, COARSE)
                windows = [window_of(channel) for channel in coarse[0]] if coarse else []
            png = np.frombuffer(as_png(as_rgb(channels, windows)), np.uint8)
            return png, "image/png", [width, height]
    image = read(sources, dims=dims, limits=limits, frame=frame)
    return _of_whole(image, part, longest, numbers)


def stacks(sources: Sequence[Source], *, dims: int, limits: Limits) -> tuple[Any, str, list[int]]:
    """Along which axes files hold frames that are images, as JSON: axis, count, channels of one.

    Raises:
        ImageError: the files cannot be read.
    """
    told = []
    for axis in FRAME_AXES:
        try:
            count = frames_in(sources[0], axis, limits)
            if count > 1:
                first = read(sources, dims=dims, limits=limits, frame=(axis, 0))
                told.append({"axis": axis, "count": count, "channels": first.channels})
        except UnsupportedImageError:
            continue  # its frames are no such images, or nothing says which axis it is
    body = np.frombuffer(json.dumps({"stacks": told}).encode(), np.uint8)
    return body, "application/json", []


def frames(
    sources: Sequence[Source], *, dims: int, limits: Limits, first: tuple[FrameAxis, int]
) -> tuple[Any, str, list[int]]:
    """Frames of a stack as TIFF files of their own, from one on, as a ZIP file.

    As many as fit into ``FRAME_BYTES``, one at least: a stack is sent once for all of these, and
    each frame by itself from then on. Their pixels and spacing are those of the stack.

    Raises:
        ImageError: as ``read``; frames of volumes are not told apart so.
    """
    if dims != 2:
        raise UnsupportedImageError("frames are files of their own where the model is flat")
    axis, number = first
    count = frames_in(sources[0], axis, limits)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        while True:
            image = read(sources, dims=dims, limits=limits, frame=(axis, number))
            archive.writestr(f"{axis}{number}.tif", encode_image(image, ".tif"))
            number += 1
            if number >= count or file.tell() >= FRAME_BYTES:
                break
    return np.frombuffer(file.getbuffer(), np.uint8), "application/zip", []


def _of_whole(
    image: Image, box: Box | None, longest: int, numbers: bool
) -> tuple[Any, str, list[int]]:
    size = list(image.spatial_shape[::-1])
    if image.dims != 2:
        return np.frombuffer(encode_image(image, ".nii.gz"), np.uint8), "application/x-nifti", size
    height, width = image.spatial_shape
    rows, columns = sampled((height, width), box, longest)
    if numbers:
        return *_as_numbers(image.array[:, rows[:, np.newaxis], columns]), size
    png = encode_picture(image, (rows, columns) if box else None, longest=longest)
    return np.frombuffer(png, np.uint8), "image/png", size


def _reduced(
    sources: Sequence[Source], limits: Limits, box: Box | None, longest: int
) -> tuple[Real[np.ndarray, "c y x"], tuple[int, int]] | None:
    """What can be read of TIFF files without reading all of them."""
    parts = []
    for source in sources:
        part = read_reduced(source, limits=limits, box=box, longest=longest)
        if part is None:
            return None
        parts.append(part)
    sizes = {size for _, size in parts}
    if len(sizes) > 1:
        raise ImageError(f"the channels of an image have one size, these have {sorted(sizes)}")
    return np.concatenate([channels for channels, _ in parts]), parts[0][1]


def _as_numbers(values: Real[np.ndarray, "c y x"]) -> tuple[Any, str]:
    """Pixels in a type that JavaScript has too."""
    plain = values.dtype in (np.uint8, np.int8, np.uint16, np.int16)
    kind = values.dtype.newbyteorder("<") if plain else np.dtype(np.float32)
    file = io.BytesIO()
    np.lib.format.write_array(
        file, np.ascontiguousarray(values.astype(kind, copy=False)), allow_pickle=False
    )
    return np.frombuffer(file.getbuffer(), np.uint8), "application/x-npy"
