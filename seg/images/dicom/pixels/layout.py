"""What a DICOM header says of how its pixels are stored."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from seg.errors import ImageError, UnsupportedImageError
from seg.images.dicom.file import Dataset

GREY = ("MONOCHROME1", "MONOCHROME2")
COLORS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
PALETTE = "PALETTE COLOR"

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
    lowest_bit: int
    """Where the stored bits begin: not at 0 in files of old scanners, whose HighBit says so."""
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
        _check_told(header)
        allocated, stored = int(header.BitsAllocated), int(header.get("BitsStored") or 0)
        if allocated not in (1, 8, 16, 32, 64) or not 0 <= stored <= allocated:
            raise ImageError(
                f"the DICOM header tells of {stored} bits stored in {allocated}; repair the header"
            )
        is_real = allocated >= 32 and not {"BitsStored", "PixelRepresentation"} & set(header.dir())
        kind = "f" if is_real else "i" if header.get("PixelRepresentation") == 1 else "u"
        stored = stored or allocated
        highest = int(header.get("HighBit") or 0)
        return cls(
            frames=frames,
            rows=rows,
            columns=columns,
            samples=samples,
            photometric=photometric,
            bits_stored=stored,
            lowest_bit=highest + 1 - stored if stored <= highest < allocated else 0,
            stored=np.dtype(f"{kind}{max(allocated // 8, 1)}"),
        )

    @property
    def most_bytes(self) -> int:
        """That the pixels may take in the file: what they are, and as much again for padding."""
        values = self.frames * self.rows * self.columns * self.samples
        return 2 * values * self.stored.itemsize + SPARE_BYTES

    @property
    def usual(self) -> dict[str, int | str]:
        """Attributes that some programs leave out, by what they then mean."""
        return {
            "SamplesPerPixel": self.samples,
            "PhotometricInterpretation": self.photometric,
            **({} if self.stored.kind == "f" else {"BitsStored": self.bits_stored}),
        }

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


def _check_told(header: Dataset) -> None:
    """Pass where nothing about the numbers is to be guessed.

    Raises:
        ImageError: an attribute is missing.
    """
    is_real = "FloatPixelData" in header or "DoubleFloatPixelData" in header
    needed = ("BitsAllocated",) if is_real else ("BitsAllocated", "PixelRepresentation")
    allocated = header.get("BitsAllocated")
    if allocated and allocated >= 32 and "BitsStored" not in header:
        needed = ("BitsAllocated",)
    for name in needed:
        if header.get(name) is None:
            raise ImageError(
                f"the DICOM header lacks {name}, without which nobody knows what the numbers of "
                "its pixels mean; send the file as it came from the scanner"
            )
