"""Raw and deflated voxels from a stream into an array, no further than the array is large."""

import os
import zlib
from math import prod
from typing import Any

import numpy as np
from jaxtyping import Real

from seg.errors import ImageError
from seg.images.storage.files import BinaryFile

CHUNK_BYTES = 2**20

GZIP = b"\x1f\x8b"

ANY_HEADER = 32 + zlib.MAX_WBITS
"""zlib's word for: gzip or zlib, whichever the header says."""


def raw_voxels(
    file: BinaryFile, shape: tuple[int, ...], dtype: np.dtype[Any], *, deflated: bool = False
) -> Real[np.ndarray, "..."]:
    """An array of ``shape``, last axis fastest, from where the file stands, in native byte order.

    Raises:
        ImageError: there are fewer bytes than the array needs.
        zlib.error: the deflated stream is damaged.
    """
    if not deflated:  # a header may announce what no file holds: look before memory is taken
        start = file.tell()
        held = file.seek(0, os.SEEK_END) - start
        file.seek(start)
        _check_length(held, prod(shape) * dtype.itemsize)
    array = np.empty(shape, dtype)
    buffer = array.reshape(-1).view(np.uint8).data
    filled = _inflate(file, buffer) if deflated else _fill(file, buffer)
    _check_length(filled, len(buffer))
    return array.astype(dtype.newbyteorder("="), copy=False)


def _check_length(held: int, needed: int) -> None:
    if held < needed:
        raise ImageError(
            f"the header announces {needed:,} bytes of voxels and the file holds {held:,}; "
            "send the whole file"
        )


def _fill(file: BinaryFile, buffer: memoryview) -> int:
    """Number of bytes that were there."""
    filled = 0
    while filled < len(buffer):
        count = file.readinto(buffer[filled:])
        if not count:
            break
        filled += count
    return filled


def _inflate(file: BinaryFile, buffer: memoryview) -> int:
    """Number of bytes that were there, in one member of gzip or in several."""
    inflater = zlib.decompressobj(ANY_HEADER)
    filled = 0
    pending = b""
    while filled < len(buffer):
        pending = pending or file.read(CHUNK_BYTES)
        if not pending:
            break
        part = inflater.decompress(pending, min(CHUNK_BYTES, len(buffer) - filled))
        buffer[filled : filled + len(part)] = part
        filled += len(part)
        pending = inflater.unconsumed_tail
        if inflater.eof:
            pending = inflater.unused_data or file.read(CHUNK_BYTES)
            if not pending.startswith(GZIP[: len(pending)]):
                break
            inflater = zlib.decompressobj(ANY_HEADER)
    return filled
