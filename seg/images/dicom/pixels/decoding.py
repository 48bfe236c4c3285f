"""The pixels of a DICOM file as the numbers that they mean: Hounsfield, counts, red-green-blue.

What is damaged makes pydicom raise errors of many types; ``seg.images.dicom`` translates them.
"""

from collections.abc import Sequence
from itertools import islice

import numpy as np
from jaxtyping import Integer, Real, Shaped

from seg.errors import ImageError, UnsupportedImageError
from seg.images.dicom.codecs import check_frame
from seg.images.dicom.file import OUR_DECODER, Dataset, pydicom, translated
from seg.images.dicom.pixels.layout import PALETTE, PixelLayout
from seg.images.dicom.pixels.scale import Scale
from seg.images.storage.decoding_room import decoding_room

MEASURED = ("CT", "PT")
"""Modalities whose numbers are measurements, so that they are not turned to be looked at."""

DECODERS = ("pydicom", "pillow", "pyjpegls", OUR_DECODER)
"""In this order, where one knows the compression. Not gdcm: damaged pixels bring it down, and the
process with it."""

MAX_BYTE = 255

PIXEL_DATA = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")

RLE = "1.2.840.10008.1.2.5"


def decode_into(
    out: Real[np.ndarray, "c z y x"],
    places: Sequence[int],
    whole: Dataset,
    layout: PixelLayout,
    scales: Sequence[Scale],
) -> None:
    """Put the frame ``i`` of a file, as it is meant, to ``out[:, places[i]]``.

    Raises:
        ImageError: the pixels are damaged or fewer than announced.
        UnsupportedImageError: a compression that is not read.
    """
    if not any(name in whole for name in PIXEL_DATA):
        raise ImageError("the DICOM file has a size and no pixels; send the whole file")
    for name, value in layout.usual.items():
        if whole.get(name) in (None, ""):
            setattr(whole, name, value)
    decoders = decoders_of(whole)
    check_frames(whole, layout.frames, layout.rows, layout.columns, layout.samples)
    failed: ImageError | None = None
    for decoder in decoders:
        try:
            with translated():
                _decode(out, places, whole, layout, scales, decoder)
            return
        except ImageError as error:
            failed = error
    assert failed is not None
    raise failed


def check_frames(whole: Dataset, count: int, rows: int, columns: int, samples: int) -> None:
    """Look into compressed frames before a decoder does.

    Raises:
        ImageError: one is damaged, or not of the size that the header announces.
    """
    syntax = whole.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated or syntax == RLE:
        return
    frames = pydicom().encaps.generate_frames(whole.PixelData, number_of_frames=count)
    for content in islice(frames, count):
        check_frame(content, rows, columns, samples)


def _decode(
    out: Real[np.ndarray, "c z y x"],
    places: Sequence[int],
    whole: Dataset,
    layout: PixelLayout,
    scales: Sequence[Scale],
    decoder: str,
) -> None:
    usual_bits = not layout.lowest_bit
    for index, (place, scale) in enumerate(zip(places, scales, strict=True)):
        with decoding_room(layout.rows * layout.columns * layout.samples):
            pixels = pydicom().pixels.pixel_array(
                whole, index=index, decoding_plugin=decoder, correct_unused_bits=usual_bits
            )
        if layout.channels == 1 or layout.photometric == PALETTE:
            pixels = _without_spare_bits(pixels, layout)
        values = _values(whole, pixels, layout, scale)
        out[:, place] = values if values.ndim == 2 else np.moveaxis(values, -1, 0)


def _values(
    header: Dataset, pixels: Shaped[np.ndarray, "..."], layout: PixelLayout, scale: Scale
) -> Shaped[np.ndarray, "..."]:
    """(y, x) or (y, x, c) as they are meant."""
    if layout.photometric == PALETTE:
        colors: Shaped[np.ndarray, ...] = pydicom().pixels.apply_color_lut(pixels, header)
        return (colors >> 8 if _has_16_bits(colors, header) else colors)[..., :3]
    if layout.channels == 3:
        return pixels
    if layout.photometric == "MONOCHROME1" and not _is_measured(header):
        low, high = layout.range
        pixels = np.asarray(low + high - pixels.astype(np.int64))
    if "ModalityLUTSequence" in header:
        table: Shaped[np.ndarray, ...] = pydicom().pixels.apply_modality_lut(pixels, header)
        return table
    return pixels if scale == Scale() else pixels * scale.slope + scale.intercept


def _has_16_bits(colors: Shaped[np.ndarray, "..."], header: Dataset) -> bool:
    """The palette's numbers go to 65535; some are announced so and hold 0 to 255."""
    if colors.dtype != np.uint16:
        return False
    tables = [
        header.get(f"{kind}{color}PaletteColorLookupTableData") or b""
        for kind in ("", "Segmented")
        for color in ("Red", "Green", "Blue")
    ]
    if any(tables[3:]):  # their words are instructions too: the colours themselves tell
        return bool((colors > MAX_BYTE).any())
    little = header.file_meta.TransferSyntaxUID.is_little_endian
    order = "<u2" if little else ">u2"
    return any((np.frombuffer(table, order) > MAX_BYTE).any() for table in tables[:3])


def _without_spare_bits(
    pixels: Shaped[np.ndarray, "..."], layout: PixelLayout
) -> Shaped[np.ndarray, "..."]:
    """The stored bits alone: above them lie overlays, or anything.

    pydicom clears them of uncompressed pixels only, since decoders are told no number of bits.
    """
    spare = 8 * pixels.itemsize - layout.bits_stored
    if pixels.dtype.kind not in "iu" or spare <= 0:
        return pixels
    return (pixels << (spare - _lowest_bit(pixels, layout))) >> spare


def _lowest_bit(pixels: Integer[np.ndarray, "..."], layout: PixelLayout) -> int:
    """Where the stored bits begin: where HighBit has them, unless something lies below.

    Many a program copies a HighBit that is not true, with the numbers at bit 0.

    Raises:
        ImageError: something lies below and above, so that nothing says which the numbers are.
    """
    lowest = layout.lowest_bit
    if not lowest:
        return 0
    bits = pixels.view(f"u{pixels.itemsize}")
    if not (bits & ((1 << lowest) - 1)).any():
        return lowest
    above = bits >> layout.bits_stored
    signs = (1 << (8 * pixels.itemsize - layout.bits_stored)) - 1
    if ((above != 0) & (above != signs)).any():
        raise ImageError(
            f"the DICOM header has {layout.bits_stored} bits stored from bit {lowest} on "
            "(HighBit), and there is something below them and above; repair the header"
        )
    return 0


def _is_measured(header: Dataset) -> bool:
    return header.get("Modality") in MEASURED or header.get("RescaleType") not in (None, "", "US")


def decoders_of(whole: Dataset) -> list[str]:
    """Names of the decoders that know the file's compression.

    Raises:
        UnsupportedImageError: none does.
    """
    syntax = whole.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        return [""]
    try:
        available = pydicom().pixels.get_decoder(syntax).available_plugins
    except NotImplementedError:
        available = ()
    known = [name for name in DECODERS if name in available]
    if not known:
        raise UnsupportedImageError(
            f"the DICOM compression {syntax.name} is not read; save the file uncompressed, for "
            "example with dcmconv or gdcmconv --raw"
        )
    return known
