"""What decoders do. Letters: ``b`` patches, ``c`` channels, ``k`` classes."""

import base64
import json
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from seg.errors import ImageError, ImageTooLargeError
from seg.images import Frame, Image, Limits, read_channels
from seg.images.dicom.instance_facts import InstanceFacts, instance_facts
from seg.images.frames import read_frame_channels
from seg.images.storage.files import Source, open_binary
from seg.names import FrameAxis

SPARE = 64
"""Signs in the JSON of patches that mean nothing, of each kind."""
SPARE_OF_TENSORS = 1024
"""The same in a request with tensors, which has names and options."""


def read(
    sources: Sequence[Source],
    *,
    dims: int | None,
    limits: Limits,
    series: str | None = None,
    frame: tuple[FrameAxis, int] | None = None,
) -> Image:
    """The image of some files, one a channel or one for all; of several series the one named.

    Of a stack the frame that is named, by its axis and its number.

    Raises:
        ImageError: they are none.
    """
    if frame is not None:
        return read_frame_channels(sources, Frame(*frame), dims=dims, limits=limits)
    return read_channels(sources, dims=dims, limits=limits, series=series)


def tell(sources: Sequence[Source]) -> InstanceFacts:
    """What one file of DICOM is.

    Raises:
        ImageError: it is none.
    """
    (source,) = sources
    with open_binary(source) as file:
        return instance_facts(file)


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
        with np.errstate(over="ignore"):
            patches = np.asarray(found["patches"] if isinstance(found, dict) else found, np.float32)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise ImageError(f'{needed}, under the name "patches"') from error
    if patches.ndim == len(shape):
        patches = patches[np.newaxis]
    if patches.shape[1:] != shape or not len(patches):
        raise ImageError(f"{needed}, got {patches.shape}")
    if len(patches) > most:
        raise ImageTooLargeError(f"at most {most} patches are taken at a time, got {len(patches)}")
    if not np.isfinite(patches).all():
        raise ImageError("the patches hold null, NaN, or more than float32 can hold")
    return patches


def parse_tensors(
    sources: Sequence[Source], *, shape: tuple[int, ...], most: int
) -> tuple[str, list[Float32[np.ndarray, "..."] | list[bytes] | None]]:
    """The JSON of a request of KServe's Open Inference Protocol, and the data of its tensors.

    Numbers come as arrays, texts as the bytes that they are in base64; None stands for a tensor
    whose data is not in the JSON. What is returned as JSON has none of them any more.

    Args:
        sources: one file.
        shape: of a tensor's first item, so that it is known how much there may be.
        most: items.

    Raises:
        ImageError: it is no such JSON, or holds what is no number.
        ImageTooLargeError: there are more lists or numbers than so many items have.
    """
    (source,) = sources
    with open_binary(source) as file:
        text = file.read()
    needed = f"a tensor here has items of shape {shape}" if shape else "a tensor here has texts"
    _check_counts(text, shape, most, needed, SPARE_OF_TENSORS)
    try:
        document = json.loads(text)
        given = [each.pop("data", None) for each in document["inputs"]]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ImageError(
            "the request is no JSON object with inputs: a list of objects with name, shape, "
            "datatype and data"
        ) from error
    return json.dumps(document), [_data_of(data) for data in given]


def _data_of(data: Any) -> Float32[np.ndarray, "..."] | list[bytes] | None:
    if data is None:
        return None
    try:
        if isinstance(data, list) and data and all(isinstance(each, str) for each in data):
            return [base64.b64decode(each, validate=True) for each in data]
        with np.errstate(over="ignore"):
            found = np.asarray(data, np.float32)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ImageError(
            "the data of a tensor is a list of numbers, or of texts that hold files in base64"
        ) from error
    if not np.isfinite(found).all():
        raise ImageError("the data of a tensor holds null, NaN, or more than FP32 can hold")
    return found


def _check_counts(
    text: bytes, shape: tuple[int, ...], most: int, needed: str, spare: int = SPARE
) -> None:
    lists = 1 + most * sum(prod(shape[:axis]) for axis in range(len(shape)))
    numbers = most * prod(shape)
    for sign, allowed in (
        (b"[", lists + spare),
        (b"{", spare),
        (b",", numbers + spare),
        (b'"', spare),
    ):
        if text.count(sign) > allowed:
            raise ImageTooLargeError(f"{needed}, at most {most} of them; this has more")


def write_json(
    _: Sequence[Source], *, array: Float32[np.ndarray, "..."] | UInt8[np.ndarray, "..."]
) -> UInt8[np.ndarray, " bytes"]:
    """An array as JSON lists, as bytes in an array."""
    return np.frombuffer(json.dumps(array.tolist()).encode(), np.uint8)
