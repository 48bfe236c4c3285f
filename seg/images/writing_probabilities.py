"""Probabilities of each class as files: what a mask was decided from.

Letters: ``k`` classes, or regions where they overlap.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from jaxtyping import Float

from seg.errors import ImageError, UnsupportedImageError
from seg.images.arrays.npz import grid_arrays
from seg.images.grid.image import Image, Mask
from seg.images.nifti.whole import encode_nifti
from seg.images.tiff.whole import encode_tiff

NIFTI_STEP = 2.0**-15
"""NIfTI has no 16-bit floats. Whole numbers of this step take as much room, are 8 times as exact
near 1, and 0, 1/2 and 1 are what they were."""

TOLERANCE = 1e-3
"""How far a sum of rounded numbers may lie outside of 0 to 1."""

Encode = Callable[[Image, Sequence[str]], bytes]


@dataclass(frozen=True, slots=True)
class ProbabilityFormat:
    """A format that probabilities can be had in."""

    name: str
    media_type: str
    suffix: str
    encode: Encode


def encode_probabilities(
    probabilities: Float[np.ndarray, "k *spatial"],
    grid: Image | Mask,
    format: str,
    names: Sequence[str] = (),
) -> bytes:
    """Probabilities as a file of one of ``PROBABILITY_FORMATS``, a channel for each class.

    Args:
        probabilities: From 0 to 1, on the grid.
        grid: The image that was segmented, or its mask: where the probabilities lie.
        format: ``nifti`` (steps of 2⁻¹⁵), ``tiff`` (float32) or ``npz`` (float16).
        names: Of the classes, in order; they are written into the file.

    Raises:
        UnsupportedImageError: no such format.
        ImageError: they are no probabilities, lie on another grid, or have other names.
    """
    if format not in PROBABILITY_FORMATS:
        raise UnsupportedImageError(
            f"probabilities are written as {', '.join(PROBABILITY_FORMATS)}, got {format!r}"
        )
    if probabilities.shape[1:] != grid.spatial_shape:
        raise ImageError(
            f"probabilities of {probabilities.shape[1:]} do not lie on a grid of "
            f"{grid.spatial_shape}"
        )
    if names and len(names) != len(probabilities):
        raise ImageError(
            f"{len(probabilities)} classes need as many names, got {len(names)}: {', '.join(names)}"
        )
    low, high = float(probabilities.min()), float(probabilities.max())
    if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):
        raise ImageError(f"probabilities lie between 0 and 1, got {low:g} to {high:g}")
    image = Image.on_grid_of(grid, probabilities.clip(0, 1))
    return PROBABILITY_FORMATS[format].encode(image, names)


def _nifti(image: Image, names: Sequence[str]) -> bytes:
    return encode_nifti(image, step=NIFTI_STEP, names=names)


def _tiff(image: Image, names: Sequence[str]) -> bytes:
    # TIFF has 16-bit floats, OME-TIFF and most of its readers have not.
    wide = Image.on_grid_of(image, image.array.astype(np.float32))
    return encode_tiff(wide, names=names)


def _npz(image: Image, names: Sequence[str]) -> bytes:
    arrays = {"probabilities": image.array.astype(np.float16), **grid_arrays(image)}
    if names:
        arrays["names"] = np.array(list(names))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


PROBABILITY_FORMATS: Mapping[str, ProbabilityFormat] = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            ProbabilityFormat("nifti", "application/x-nifti", ".nii.gz", _nifti),
            ProbabilityFormat("tiff", "image/tiff", ".tif", _tiff),
            ProbabilityFormat("npz", "application/x-npz", ".npz", _npz),
        )
    }
)
"""By name."""
