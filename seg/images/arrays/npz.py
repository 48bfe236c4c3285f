"""Masks as NumPy archives: ``labels``, ``spacing`` and ``affine``, arrays only, no pickles."""

import io
import tokenize
import zipfile

import numpy as np
from jaxtyping import Real
from numpy.lib import format as npy

from seg.errors import ImageError
from seg.images.grid.image import Image, Mask
from seg.images.grid.limits import Limits, ReadOptions
from seg.images.storage.files import DAMAGE, BinaryFile

DECODING_ERRORS = (*DAMAGE, zipfile.BadZipFile, tokenize.TokenError)

GRID_BYTES = 4096
"""More than spacing and affine ever take."""


def encode_npz(mask: Mask) -> bytes:
    """An archive for ``numpy.load``; what the mask does not know is not there."""
    labels = mask.array.astype(np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, labels=labels, **grid_arrays(mask))
    return buffer.getvalue()


def grid_arrays(grid: Image | Mask) -> dict[str, np.ndarray]:
    """``spacing`` and ``affine``, each where it is known."""
    known = {"spacing": grid.spacing, "affine": grid.affine}
    return {name: np.asarray(value, float) for name, value in known.items() if value is not None}


def read_npz(file: BinaryFile, options: ReadOptions) -> Image:
    """The labels of a mask written by ``encode_npz``, as an image of one channel."""
    if not options.labels:
        raise ImageError("a NumPy archive is read as a mask only; send the image as TIFF or NIfTI")
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            labels = _array(archive, "labels", options.limits)
            small = Limits(max_bytes=GRID_BYTES)
            grid = {
                name: _array(archive, name, small)
                for name in ("spacing", "affine")
                if f"{name}.npy" in names
            }
    except ImageError:
        raise
    except DECODING_ERRORS as error:
        raise ImageError(
            f"the NumPy archive is damaged or lacks an array called labels ({error})"
        ) from error
    if options.dims not in (None, labels.ndim):
        raise ImageError(f"a {options.dims}D mask is needed, the NumPy archive's is {labels.ndim}D")
    spacing, affine = grid.get("spacing"), grid.get("affine")
    if affine is not None and affine.shape != (4, 4):
        raise ImageError(f"the affine must be 4 x 4, got {affine.shape}")
    return Image(
        labels[np.newaxis],
        spacing=None if spacing is None else tuple(float(mm) for mm in spacing.reshape(-1)),
        affine=affine,
    )


def _array(archive: zipfile.ZipFile, name: str, limits: Limits) -> Real[np.ndarray, "..."]:
    """One array, its announced size checked before it is inflated."""
    with archive.open(f"{name}.npy") as member:
        version = npy.read_magic(member)
        reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = reader(member)
        if dtype.kind not in "uif":
            raise ImageError(f"the NumPy archive's {name} must hold numbers, got {dtype}")
        limits.check(shape, 1, dtype.itemsize)
        count = int(np.prod(shape, dtype=object))
        content = member.read(count * dtype.itemsize)
    array = np.frombuffer(content, dtype, count).reshape(shape, order="F" if fortran else "C")
    return array.astype(dtype.newbyteorder("="))
