"""The pixels of a DICOM file as the numbers that they mean: Hounsfield, counts, red-green-blue.

What is damaged makes pydicom raise errors of many types; ``seg.images.dicom`` translates them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from jaxtyping import Real, Shaped

from seg.errors import ImageError, UnsupportedImageError
from seg.images.dicom.codecs import check_frame
from seg.images.dicom.file import OUR_DECODER, Dataset, pydicom, translated
from seg.images.dicom.planes import functional

GREY = ("MONOCHROME1", "MONOCHROME2")
COLORS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
PALETTE = "PALETTE COLOR"

MEASURED = ("CT", "PT")
"""Modalities whose numbers are measurements, so that they are not turned to be looked at."""

DECODERS = ("pydicom", "pillow", "pyjpegls", OUR_DECODER)
"""In this order, where one knows the compression. Not gdcm: damaged pixels bring it down, and the
process with it."""

MAX_BYTE = 255

RLE = "1.2.840.10008.1.2.5"


SPARE_BYTES = 1 << 20
"""That a small image may have in its file beside its pixels."""


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """What the header says of the pixels."""

    frames: int
    rows: int
    columns: int
    samples: int
    photometric: str
    bits_stored: int
    stored: np.dtype[Any]

    @classmethod
    def of(cls, header: Dataset) -> "PixelLayout":
        """Read from the Image Pixel Module.

        Raises:
            ImageError: there is no image, or the numbers about it contradict each other.
            UnsupportedImageError: a kind of pixels that is not read.
        """
        if header.get("Rows") is None or header.get("Columns") is None:
            raise ImageError("the DICOM file holds no image; send one with pixels")
        frames = int(header.get("NumberOfFrames") or 1)
        rows, columns = int(header.Rows), int(header.Columns)
        samples = int(header.get("SamplesPerPixel") or 1)
        photometric = str(header.get("PhotometricInterpretation") or "MONOCHROME2")
        if min(frames, rows, columns) < 1:
            raise ImageError(f"the DICOM image is empty: {frames} x {rows} x {columns}")
        wanted = 3 if photometric in COLORS else 1
        if photometric not in (*GREY, *COLORS, PALETTE) or samples != wanted:
            raise UnsupportedImageError(
                f"a grey, palette, RGB or YBR DICOM image is needed, got {photometric[:20]} with "
                f"{samples} samples a pixel; convert it to RGB"
            )
        allocated, stored = int(header.BitsAllocated), int(header.get("BitsStored") or 0)
        if allocated not in (1, 8, 16, 32, 64) or not 0 <= stored <= allocated:
            raise ImageError(
                f"the DICOM header tells of {stored} bits stored in {allocated}; repair the header"
            )
        is_real = allocated >= 32 and not {"BitsStored", "PixelRepresentation"} & set(header.dir())
        kind = "f" if is_real else "i" if header.get("PixelRepresentation") == 1 else "u"
        return cls(
            frames=frames,
            rows=rows,
            columns=columns,
            samples=samples,
            photometric=photometric,
            bits_stored=stored or allocated,
            stored=np.dtype(f"{kind}{max(allocated // 8, 1)}"),
        )

    @property
    def most_bytes(self) -> int:
        """That the pixels may take in the file: what they are, and as much again for padding."""
        values = self.frames * self.rows * self.columns * self.samples
        return 2 * values * self.stored.itemsize + SPARE_BYTES

    @property
    def channels(self) -> int:
        """3 for colours, also those of a palette."""
        return 1 if self.photometric in GREY else 3

    @property
    def range(self) -> tuple[int, int]:
        """Smallest and largest number that a pixel can hold."""
        if self.stored.kind == "i":
            return -(2 ** (self.bits_stored - 1)), 2 ** (self.bits_stored - 1) - 1
        return 0, 2**self.bits_stored - 1


@dataclass(frozen=True, slots=True)
class Scale:
    """From stored numbers to measured ones."""

    slope: float = 1.0
    intercept: float = 0.0

    @classmethod
    def of(cls, header: Dataset, frame: int = 0) -> "Scale":
        """Rescale slope and intercept (to Hounsfield in CT), or the scaling of a dose.

        Raises:
            ImageError: they are no finite numbers.
        """
        values = functional(header, frame, "PixelValueTransformationSequence")
        slope = values.get("RescaleSlope") or header.get("DoseGridScaling") or 1.0
        scale = cls(float(slope), float(values.get("RescaleIntercept") or 0.0))
        if not np.isfinite([scale.slope, scale.intercept]).all():
            raise ImageError("the DICOM rescale slope or intercept is not finite; repair it")
        return scale


def unscaled(header: Dataset) -> tuple[str, ...]:
    """What is to be said of a CT whose header does not tell its numbers' scale."""
    scale = functional(header, 0, "PixelValueTransformationSequence")
    is_told = any(each.get("RescaleIntercept") not in (None, "") for each in (header, scale))
    if header.get("Modality") != "CT" or is_told or "ModalityLUTSequence" in header:
        return ()
    return (
        "the DICOM header of this CT does not say how its numbers are scaled (RescaleIntercept), "
        "so they were taken as Hounsfield units; if air is not near -1000, the mask is wrong",
    )


def value_type(layout: PixelLayout, header: Dataset, scales: Sequence[Scale]) -> np.dtype[Any]:
    """The smallest type that holds the values of all slices."""
    if layout.channels == 3:
        if layout.photometric == PALETTE:
            return np.dtype(np.uint8)
        return layout.stored
    if "ModalityLUTSequence" in header:
        return np.dtype(np.float32)
    if layout.stored.kind == "f" or all(scale == Scale() for scale in scales):
        return layout.stored
    intercepts = [scale.intercept for scale in scales]
    if all(scale.slope == 1 for scale in scales) and all(i.is_integer() for i in intercepts):
        low, high = layout.range
        ends = int(low + min(intercepts)), int(high + max(intercepts))
        for kind in (np.int16, np.int32):
            if np.iinfo(kind).min <= ends[0] and ends[1] <= np.iinfo(kind).max:
                return np.dtype(kind)
    return np.dtype(np.float32 if layout.stored.itemsize <= 2 else np.float64)


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
    for index, (place, scale) in enumerate(zip(places, scales, strict=True)):
        pixels = pydicom().pixels.pixel_array(whole, index=index, decoding_plugin=decoder)
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
    return (pixels << spare) >> spare


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
