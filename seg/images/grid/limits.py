"""How large an image may be, and what a reader is asked for."""

from dataclasses import dataclass
from math import prod
from pathlib import Path

from seg.errors import ImageTooLargeError
from seg.images.grid.frames import Frame
from seg.images.grid.image import Image


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Sizes beyond which an image is refused, by its header, before anything is decoded.

    A PNG of 17 kB can hold 144 million pixels: what a file weighs says nothing about the memory
    that it takes. The defaults let a 100-megapixel photo and a whole-body CT pass.
    """

    max_pixels: int = 100_000_000
    """Pixels of one plane, rows times columns; holds for an image and for each slice."""
    max_voxels: int = 2**29
    """Voxels of a volume, slices times rows times columns."""
    max_bytes: int = 2**31
    """Bytes of the decoded array: all positions, all channels."""

    def check(self, spatial: tuple[int, ...], channels: int, itemsize: int) -> None:
        """Pass where an array of ``channels`` and ``itemsize`` bytes an element is small enough.

        Raises:
            ImageTooLargeError: one of the three limits is passed.
        """
        size = " x ".join(str(length) for length in spatial)
        sizes = (
            ("pixels a plane", prod(spatial[-2:]), self.max_pixels),
            ("voxels", prod(spatial), self.max_voxels),
            ("bytes once decoded", prod(spatial) * channels * itemsize, self.max_bytes),
        )
        for unit, got, allowed in sizes:
            if got > allowed:
                raise ImageTooLargeError(
                    f"at most {allowed:,} {unit} are read, got {got:,} ({size}, {channels} "
                    "channels); crop the image, make it coarser, or raise the limit"
                )


DEFAULT_LIMITS = Limits()
NEARLY = 1.01
"""Pixels of a level may be so many times larger than wished: scanners' levels are not exact."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadOptions:
    """What a reader is asked for."""

    dims: int | None = None
    """Spatial axes that the caller needs; None takes what the file says."""
    limits: Limits = DEFAULT_LIMITS
    folder: Path | None = None
    """Where the file lies, so that it may name a second one beside it; None for bytes."""
    labels: bool = False
    """The file is a mask: its numbers are class indices, not colours or intensities."""
    series: str | None = None
    """SeriesInstanceUID of the DICOM series that is wanted, where there may be several."""
    frame: Frame | None = None
    """The only one that is wanted of a stack."""
    coarsest: float | None = None
    """Of a pyramid of pictures: how large pixels of the level that is read may be, in mm."""
    onto: Image | None = None
    """The image that a mask belongs to, where it is known: frames are laid on its slices."""

    @property
    def largest_pixel(self) -> float | None:
        """In mm, of a level of a pyramid that is fine enough; None takes the full level."""
        if self.coarsest is None or self.dims != 2:
            return None
        return NEARLY * self.coarsest
