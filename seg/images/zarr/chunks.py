"""What a compressed chunk of a Zarr unpacks to, told before it is unpacked."""

import struct
import zlib
from typing import Any

from seg.errors import ImageError, UnsupportedImageError
from seg.images.storage.voxels import ANY_HEADER, CHUNK_BYTES

KNOWN = ("blosc", "zstd", "lz4", "zlib", "gzip")

HARMLESS = ("bytes", "transpose", "crc32c")
"""Steps that leave the size as it is, but for a checksum."""


BLOSC_HEADER_BYTES = 16


def compressions_of(metadata: Any) -> list[str]:
    """The steps that change the size of an array's chunks, by their names in Zarr."""
    if metadata.zarr_format == 2:
        compressors = [metadata.compressor] if metadata.compressor is not None else []
        return [codec.codec_id for codec in (*compressors, *(metadata.filters or ()))]
    names = [codec.to_dict()["name"] for codec in metadata.codecs]
    return [name for name in names if name not in HARMLESS]


def compression_of(metadata: Any) -> str | None:
    """The one compression of an array's chunks, None where they are plain.

    Raises:
        UnsupportedImageError: several, shards, or one whose result cannot be told beforehand.
    """
    names = compressions_of(metadata)
    if len(names) > 1 or not set(names) <= set(KNOWN):
        raise UnsupportedImageError(
            f"a zipped OME-Zarr compressed by one of {', '.join(KNOWN)} is read, this one has "
            f"{', '.join(names)}; send it as a folder, or write it without shards and filters"
        )
    return names[0] if names else None


def check_chunk(content: memoryview, compression: str | None, needed: int) -> None:
    """Pass where the chunk does not unpack to more than an array's chunk needs.

    Raises:
        ImageError: it does, or it does not say what it unpacks to.
    """
    size = _unpacked_size(content, compression, needed)
    if size is None or size > needed + 4:
        raise ImageError(
            f"a chunk of the OME-Zarr unpacks to more than the {needed:,} bytes that it should "
            "hold; write it anew"
        )


def _unpacked_size(content: memoryview, compression: str | None, needed: int) -> int | None:
    if compression in ("zlib", "gzip"):
        return _inflated(content, needed)
    if compression == "zstd":
        return _zstd_size(content)
    if compression == "blosc":
        check_blosc(content, len(content))
    if compression in ("blosc", "lz4"):
        size: int = struct.unpack_from("<I", content, 4 if compression == "blosc" else 0)[0]
        return size
    return len(content)


def check_blosc(head: bytes | memoryview, size: int) -> None:
    """Pass where a Blosc chunk of ``size`` bytes holds what its header announces.

    Blosc reads as far as the header says, beyond the end of a chunk that was cut short.

    Raises:
        ImageError: it holds less.
    """
    if len(head) < BLOSC_HEADER_BYTES or struct.unpack_from("<I", head, 12)[0] > size:
        raise ImageError("a chunk of the OME-Zarr is damaged or cut short; send the whole image")


def _inflated(content: memoryview | bytes, needed: int) -> int:
    """Bytes that the chunk unpacks to, or some number above ``needed``."""
    size = 0
    while content and size <= needed:
        inflater = zlib.decompressobj(ANY_HEADER)
        while not inflater.eof and size <= needed and content:
            size += len(inflater.decompress(content, CHUNK_BYTES))
            content = inflater.unconsumed_tail
        content = inflater.unused_data
    return size


def _zstd_size(content: memoryview) -> int | None:
    """The size that the frame announces, if any. Source: RFC 8878, 3.1.1.1."""
    if bytes(content[:4]) != b"\x28\xb5\x2f\xfd":
        raise ImageError("a chunk of the OME-Zarr is damaged; write it anew")
    flags = content[4]
    single = flags >> 5 & 1
    length = (single, 2, 4, 8)[flags >> 6]
    start = 5 + (1 - single) + (0, 1, 2, 4)[flags & 3]
    if length == 0 or len(content) < start + length:
        return None
    return int.from_bytes(content[start : start + length], "little") + 256 * (length == 2)
