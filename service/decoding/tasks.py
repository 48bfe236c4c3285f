"""What decoders do. Letters: ``b`` patches, ``c`` channels, ``k`` classes."""

import json
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from seg.errors import ImageError, ImageTooLargeError
from seg.images import Image, Limits, encode_image, encode_picture, read_channels
from seg.images.storage.files import Source, open_binary

SPARE = 64
"""Signs in the JSON of patches that mean nothing, of each kind."""
LONGEST_PICTURE = 4096
"""Most pixels along an edge of a picture: what the canvas of a phone can hold."""


def read(
    sources: Sequence[Source], *, dims: int, limits: Limits, series: str | None = None
) -> Image:
    """The image of some files, one a channel or one for all; of several series the one named.

    Raises:
        ImageError: they are none.
    """
    return read_channels(sources, dims=dims, limits=limits, series=series)


def show(sources: Sequence[Source], *, dims: int, limits: Limits) -> tuple[Any, str]:
    """A PNG of an image, a NIfTI file of a volume, as bytes in an array; and its media type.

    The PNG is grey as that of the overlay is, and of the mask's size, unless that has an edge above
    ``LONGEST_PICTURE``: then it shows every second, third, ... pixel.

    Raises:
        ImageError: the files are no image of that many dimensions.
    """
    image = read(sources, dims=dims, limits=limits)
    if image.dims == 2:
        return np.frombuffer(encode_picture(image, LONGEST_PICTURE), np.uint8), "image/png"
    return np.frombuffer(encode_image(image, ".nii.gz"), np.uint8), "application/x-nifti"


def parse_patches(
    sources: Sequence[Source], *, shape: tuple[int, ...], most: int
) -> Float32[np.ndarray, "b c *patch"]:
    """Patches from JSON: ``{"patches": [...]}``, or the lists alone.

    Brackets and commas are counted before a list is made: sixteen million empty lists are 32 MB of
    text and gigabytes of lists.

    Args:
        sources: one file.
        shape: of a patch, ``(c, *patch)``.
        most: patches.

    Raises:
        ImageError: it is no JSON, or of another shape.
        ImageTooLargeError: there are more patches, or more lists or numbers than these have.
    """
    (source,) = sources
    with open_binary(source) as file:
        text = file.read()
    needed = f"patches are JSON lists of numbers of shape (b, {', '.join(map(str, shape))})"
    _check_counts(text, shape, most, needed)
    try:
        found = json.loads(text)
        patches = np.asarray(found["patches"] if isinstance(found, dict) else found, np.float32)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ImageError(f'{needed}, under the name "patches"') from error
    if patches.ndim == len(shape):
        patches = patches[np.newaxis]
    if patches.shape[1:] != shape or not len(patches):
        raise ImageError(f"{needed}, got {patches.shape}")
    if len(patches) > most:
        raise ImageTooLargeError(f"at most {most} patches are taken at a time, got {len(patches)}")
    return patches


def _check_counts(text: bytes, shape: tuple[int, ...], most: int, needed: str) -> None:
    lists = 1 + most * sum(prod(shape[:axis]) for axis in range(len(shape)))
    numbers = most * prod(shape)
    for sign, allowed in ((b"[", lists), (b"{", SPARE), (b",", numbers + SPARE), (b'"', SPARE)):
        if text.count(sign) > allowed:
            raise ImageTooLargeError(f"{needed}, at most {most} of them; this has more")


def write_json(
    _: Sequence[Source], *, array: Float32[np.ndarray, "..."]
) -> UInt8[np.ndarray, " bytes"]:
    """An array as JSON lists, as bytes in an array."""
    return np.frombuffer(json.dumps(array.tolist()).encode(), np.uint8)
