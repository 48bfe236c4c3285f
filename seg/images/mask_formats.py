"""From ``Mask`` and ``Image`` to files: the one registry of output formats."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from seg.errors import ImageError, UnsupportedImageError
from seg.files import replace_file
from seg.images.classes import ClassInfo
from seg.images.image import Image, Mask
from seg.images.nifti import encode_nifti
from seg.images.npz import encode_npz
from seg.images.overlay import encode_overlay
from seg.images.raster import encode_png
from seg.images.summary import encode_summary
from seg.images.tiff import encode_tiff

Encode = Callable[[Mask, Sequence[ClassInfo], Image | None], bytes]


@dataclass(frozen=True, slots=True)
class MaskFormat:
    """A format that a mask can be had in."""

    name: str
    media_type: str
    """Registered where there is one; NIfTI and NPZ have none."""
    suffix: str
    encode: Encode


MASK_FORMATS: Mapping[str, MaskFormat] = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            MaskFormat(
                "png", "image/png", ".png", lambda mask, classes, _: encode_png(mask, classes)
            ),
            MaskFormat("tiff", "image/tiff", ".tif", lambda mask, *_: encode_tiff(mask)),
            MaskFormat(
                "nifti", "application/x-nifti", ".nii.gz", lambda mask, *_: encode_nifti(mask)
            ),
            MaskFormat("npz", "application/x-npz", ".npz", lambda mask, *_: encode_npz(mask)),
            MaskFormat(
                "json",
                "application/json",
                ".json",
                lambda mask, classes, _: encode_summary(mask, classes),
            ),
            MaskFormat("overlay", "image/png", ".png", encode_overlay),
        )
    }
)


def encode_mask(
    mask: Mask, format: str, classes: Sequence[ClassInfo], image: Image | None = None
) -> bytes:
    """The mask as a file of one of ``MASK_FORMATS``.

    Args:
        mask: Labels and where they lie.
        format: ``png`` (palette, a pixel's value is its class), ``tiff``, ``nifti`` (gzipped),
            ``npz``, ``json`` (class sizes) or ``overlay`` (a picture for people).
        classes: Names and colours of all labels in the mask.
        image: What was segmented; an overlay is drawn on it.

    Raises:
        UnsupportedImageError: no such format, or it cannot hold this mask.
        ImageError: a label has no class, or an overlay has no image.
    """
    if format not in MASK_FORMATS:
        raise UnsupportedImageError(
            f"masks are written as {', '.join(MASK_FORMATS)}, got {format!r}"
        )
    highest = max((entry.index for entry in classes), default=-1)
    low, high = int(mask.array.min()), int(mask.array.max())
    if low < 0 or high > highest:
        raise ImageError(
            f"the classes go from 0 to {highest}, the mask holds labels {low} to {high}; "
            "name every label's class"
        )
    return MASK_FORMATS[format].encode(mask, classes, image)


def write_mask(
    path: Path,
    mask: Mask,
    format: str,
    classes: Sequence[ClassInfo],
    image: Image | None = None,
) -> None:
    """Write the mask whole or not at all.

    Raises:
        ImageError: as ``encode_mask`` does.
    """
    replace_file(path, encode_mask(mask, format, classes, image))


def write_image(path: Path, image: Image) -> None:
    """Write a TIFF or a NIfTI file by its suffix, whole or not at all.

    TIFF (``.tif``, ``.tiff``) keeps the spacing, NIfTI (``.nii``, ``.nii.gz``) the affine as well.

    Raises:
        UnsupportedImageError: another suffix, or a type of numbers that the format lacks.
    """
    name = path.name.lower()
    if name.endswith((".tif", ".tiff")):
        content = encode_tiff(image)
    elif name.endswith((".nii", ".nii.gz")):
        content = encode_nifti(image, zipped=name.endswith(".gz"))
    else:
        raise UnsupportedImageError(
            f"images are written as .tif, .tiff, .nii or .nii.gz, got {path.suffix or path.name!r}"
        )
    replace_file(path, content)
