"""Whether a TIFF is all there: tifffile reads what it finds and fills the rest with zeros.

A volume that lacks slices, or that has lost the header with its spacing, looks like an image.
"""

import os
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from tifffile import TiffFile, TiffFileError, TiffFrame, TiffPage, TiffPageSeries

from seg.errors import ImageError, ImageTooLargeError, UnsupportedImageError
from seg.images.grid.upright import ORIENTATION_TAG, UPRIGHT
from seg.images.storage.files import DAMAGE, BinaryFile
from seg.verbs import called

MAX_PAGES = 20_000
"""A page costs a header to be read, whatever its size."""

MAX_PLANES = 64 * MAX_PAGES
"""A page holds one, or a few samples that an OME header calls channels."""

_PIXELS = re.compile(r"<(?:\w+:)?Pixels\b[^>]*")
_SIZES = re.compile(r"\bSize[ZCT]\s*=\s*[\"'](\d{1,18})")
_PLACES = re.compile(r"\bPlaneCount\s*=\s*[\"'](\d{1,18})")

VALUE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
VALUE_BYTES |= {16: 8, 17: 8, 18: 8}
"""Size of a tag's value by its type."""

PRIVATE_TAGS = 32768
"""From here on tags belong to the programs that write them, and may be broken without harm."""

IMAGEJ_TAGS = (50838, 50839)

JPEG, WEBP = (6, 7, 33007, 34892), (34927, 50001)
"""Compressions."""
LOSSLESS_JPEG = b"\xff\xc3"
"""Where such a frame begins; within the pixels of others 255 is followed by 0."""

SLIDES = ("svs", "ndpi", "scn", "bif", "philips", "qpi", "avs")
"""Kinds of files of slide scanners, as tifffile calls them: the first picture is the slide."""

SIDE_PICTURES = ("label", "macro", "thumbnail", "overview")
"""Words in the names of pictures that go with a slide."""


@dataclass(frozen=True, slots=True)
class _Words:
    """How numbers are packed in classic TIFF or BigTIFF of either byte order."""

    offset: str
    tag_count: str
    tag: str
    """Code, type, number of values, value or where it lies."""

    @classmethod
    def of(cls, head: bytes) -> "_Words":
        order = "<" if head[:2] == b"II" else ">"
        if head[2:4] in (b"+\0", b"\0+"):
            return cls(f"{order}Q", f"{order}Q", f"{order}HHQQ")
        return cls(f"{order}I", f"{order}H", f"{order}HHII")


def check_pages(file: BinaryFile) -> Mapping[int, int]:
    """Walk from page to page to the last one, and leave the file at its start.

    Returns:
        The orientations that pages tell, by where the pages lie.

    Raises:
        ImageTooLargeError: there are more pages than ``MAX_PAGES``.
        ImageError: the pages run in a circle, or they or their tags lie outside of the file.
    """
    size = file.seek(0, os.SEEK_END)
    seen: dict[int, int] = {}
    try:
        for page, end, orientation in _pages(file):
            if page in seen:
                raise ImageError("the pages of the TIFF run in a circle; write the file anew")
            if len(seen) == MAX_PAGES:
                raise ImageTooLargeError(
                    f"at most {MAX_PAGES:,} pages are read, this TIFF has more; split it"
                )
            if end > size:
                raise ImageError("the TIFF is cut short within its header; send the whole file")
            seen[page] = orientation
    except (struct.error, OSError, OverflowError, ValueError) as error:
        raise ImageError(
            f"page {len(seen) + 1} of the TIFF lies outside of the file; send the whole file"
        ) from error
    file.seek(0)
    return seen


def orientation_of(series: TiffPageSeries, told: Mapping[int, int]) -> int:
    """How all pages of a picture are turned, as ``UPRIGHT`` numbers it.

    Args:
        series: the picture.
        told: what ``check_pages`` has found.

    Raises:
        UnsupportedImageError: some of them otherwise than others.
    """
    first = series.keyframe.tags.valueof(ORIENTATION_TAG, 1)
    pages = {told.get(page.offset, first) for page in series.pages if page is not None}
    different = {each if each in UPRIGHT else 1 for each in pages} or {1}
    if len(different) > 1:
        raise UnsupportedImageError(
            "pages of the TIFF are turned differently by their orientation tags; write all of them "
            "upright"
        )
    (only,) = different
    return int(only)


def nameless_pages(path: Path) -> int:
    """How many pages of a TIFF nothing in it names: they may be channels, slices or moments.

    Of other files, and of what cannot be read, 0: a reader says what is wrong.
    """
    try:
        with path.open("rb") as file, TiffFile(file, name="image.tif", _multifile=False) as tiff:
            series = main_series(tiff)
            axes = zip(series.get_axes(squeeze=False), series.get_shape(squeeze=False), strict=True)
            return max((length for axis, length in axes if axis not in "TCZYXS"), default=0)
    except (*DAMAGE, TiffFileError, ImageError):
        return 0


def main_series(tiff: TiffFile) -> TiffPageSeries:
    """The picture itself: scanners of slides put a thumbnail, label and macro image beside it.

    Raises:
        UnsupportedImageError: there are several images, and nothing says which one is meant.
    """
    others = pictures_in(tiff)
    if len(others) == 1:
        return others[0]
    if any(getattr(tiff, f"is_{kind}") for kind in SLIDES) and tiff.series:
        first = tiff.series[0]
        if all(prod(each.shape) <= prod(first.shape) for each in tiff.series):
            return first
    raise UnsupportedImageError(
        f"a TIFF with one image is needed, this one holds {len(tiff.series)}; save the one you "
        "mean into a file of its own, or take each "
        f"({called('seg.predict', '--each', 'position')})"
    )


def pictures_in(tiff: TiffFile) -> list[TiffPageSeries]:
    """All but thumbnails, labels and macro images.

    Raises:
        ImageTooLargeError: an OME header announces planes without end, which tifffile would list.
    """
    if tiff.is_ome and _planes_told(tiff.ome_metadata or "") > MAX_PLANES:
        raise ImageTooLargeError(
            f"the OME header of the TIFF announces more than {MAX_PLANES:,} planes, and the file "
            "does not hold them; send the whole image as one file"
        )
    return [series for series in tiff.series if not _is_side_picture(series)]


def _planes_told(header: str) -> int:
    """How many planes an OME header speaks of, in images and in where these lie."""
    images = [
        prod(int(number) for number in _SIZES.findall(pixels)) for pixels in _PIXELS.findall(header)
    ]
    return sum(images) + sum(int(number) for number in _PLACES.findall(header))


def series_at(tiff: TiffFile, number: int) -> TiffPageSeries:
    """The picture of one position.

    Raises:
        ImageError: there are not so many.
    """
    pictures = pictures_in(tiff)
    if not 0 <= number < len(pictures):
        raise ImageError(f"the TIFF has {len(pictures)} positions, there is no number {number}")
    return pictures[number]


def _is_side_picture(series: TiffPageSeries) -> bool:
    """A thumbnail, label or macro image, by its name or as a reduced copy of another picture."""
    if any(word in str(series.name).lower() for word in SIDE_PICTURES):
        return True
    return bool(series.keyframe is not None and series.keyframe.is_reduced)


def check_extent(file: BinaryFile, tiff: TiffFile, series: TiffPageSeries) -> None:
    """Pass where all pixels of the series lie within the file.

    Raises:
        ImageError: some lie beyond its end, or pages that the header announces are missing.
    """
    size = file.seek(0, os.SEEK_END)
    pages = list(series.pages)
    whole = [page for page in pages if page is not None]
    is_other_kind = (tiff.is_imagej and series.kind != "imagej") or (
        tiff.is_ome and series.kind != "ome" and len(pages) > 1
    )
    if tiff.is_ome and "BinaryOnly" in (tiff.ome_metadata or ""):
        raise UnsupportedImageError(
            "this TIFF is one part of an OME-TIFF of several files, and another file describes "
            "them (BinaryOnly); save the image as one file"
        )
    if is_other_kind or len(whole) < len(pages):
        raise ImageError(
            "the TIFF lacks pages that its header announces; send the whole image as one file"
        )
    if any(_last_pixel(page) > size for page in whole):
        raise ImageError("the TIFF is cut short; send the whole file")


def check_lossless(file: BinaryFile, page: TiffPage) -> None:
    """Pass where a mask's numbers are not surely others than were saved.

    JPEG 2000, JPEG XL and LERC may keep them, and tell it nowhere.

    Raises:
        UnsupportedImageError: JPEG or WebP with loss.
    """
    if page.compression not in (*JPEG, *WEBP) or not page.dataoffsets:
        return
    file.seek(page.dataoffsets[0])
    segment = file.read(page.databytecounts[0])
    kept = b"VP8L" in segment[:64] if page.compression in WEBP else LOSSLESS_JPEG in segment
    if not kept:
        raise UnsupportedImageError(
            "a mask cannot be compressed as JPEG or WebP within its TIFF, which alters class "
            "numbers; save it with deflate (zlib), LZW or without compression"
        )


def _pages(file: BinaryFile) -> Iterator[tuple[int, int, int]]:
    """Where each page lies, where the last value of its tags ends, and its orientation."""
    file.seek(0)
    head = file.read(16)
    words = _Words.of(head)
    offset_bytes = struct.calcsize(words.offset)
    (page,) = struct.unpack_from(words.offset, head, offset_bytes if offset_bytes == 8 else 4)
    while page:
        file.seek(page)
        (count,) = struct.unpack(words.tag_count, file.read(struct.calcsize(words.tag_count)))
        tags = file.read(count * struct.calcsize(words.tag))
        (following,) = struct.unpack(words.offset, file.read(offset_bytes))
        end = max(_value_ends(tags, words.tag, offset_bytes), default=0)
        yield page, end, _orientation(tags, words)
        page = following


def _orientation(tags: bytes, words: _Words) -> int:
    """1 where no tag says it."""
    size, inline = struct.calcsize(words.tag), struct.calcsize(words.offset)
    for place in range(0, len(tags) - size + 1, size):
        code, kind, *_ = struct.unpack_from(words.tag, tags, place)
        if code == ORIENTATION_TAG:
            length = VALUE_BYTES.get(kind, 0)
            value = tags[place + size - inline :][: min(length, inline)]
            return int.from_bytes(value, "little" if words.tag[0] == "<" else "big")
    return 1


def _value_ends(tags: bytes, word: str, inline_bytes: int) -> Iterator[int]:
    for code, kind, count, where in struct.iter_unpack(word, tags):
        length = VALUE_BYTES.get(kind, 0) * count
        if length > inline_bytes and (code < PRIVATE_TAGS or code in IMAGEJ_TAGS):
            yield where + length


def _last_pixel(page: TiffPage | TiffFrame) -> int:
    pixels = zip(page.dataoffsets, page.databytecounts, strict=True)
    return max((offset + count for offset, count in pixels), default=0)
