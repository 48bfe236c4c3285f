"""NIfTI-1 and NIfTI-2, plain or gzipped, whole files.

A file's axes are ``(x, y, z, t, ...)``, first axis fastest, so its array read backwards is ours.
A gzipped file is inflated no further than its header says. Letters: ``c`` channels.
"""

import gzip
import json
import struct
import zlib
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import nibabel
import numpy as np
from jaxtyping import Real
from nibabel.spatialimages import HeaderDataError

from seg.errors import ImageError, UnsupportedImageError
from seg.images.grid.image import Affine, Image, Mask, Spacing, sheared_share
from seg.images.grid.limits import ReadOptions
from seg.images.grid.units import MM as MM_OF
from seg.images.nifti.header import (
    HEADER_BYTES,
    HEADER_ERRORS,
    MM,
    PLACE,
    UNITS,
    UNITS_OF_MM,
    Layout,
    layout_of,
    parse_header,
    two_sizes,
    unit_of,
    world_of,
)
from seg.images.storage.files import BinaryFile

NO_FURTHER_MEMBER = "Not a gzipped file"
"""How the library begins its complaint of what lies behind the end."""

LONGEST_NIFTI1_AXIS = 2**15 - 1

Stream = gzip.GzipFile | BinaryFile

STREAM_ERRORS = (OSError, EOFError, zlib.error, struct.error)


def read_nifti(file: BinaryFile, options: ReadOptions) -> Image:
    """The image with spacing and affine in mm; the fourth axis holds channels.

    An image of one slice, ``(x, y, 1)``, is flat where 2 spatial axes are wanted. A header
    without a position (no qform, no sform) gives no affine, and no spacing either where it has
    nothing but ones without a unit.
    """
    try:
        zipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        stream = gzip.GzipFile(fileobj=file) if zipped else file
        header = parse_header(stream.read(HEADER_BYTES))
        layout = layout_of(header, options.dims)
        itemsize = max(layout.dtype.itemsize, layout.decoded.itemsize)
        options.limits.check(layout.shape[-2::-1], layout.shape[-1], itemsize)
        array = _voxels(stream, layout)
        spacing, affine = world_of(header, layout.dims)
    except ImageError:
        raise
    except STREAM_ERRORS as error:
        raise ImageError(
            f"the NIfTI file is damaged or cut short ({error}); send the whole file"
        ) from error
    except HEADER_ERRORS as error:
        raise ImageError(f"the NIfTI header is not valid: {error}; repair it") from error
    unit = UNITS[unit_of(header)]
    return Image(
        array,
        spacing=spacing,
        affine=affine,
        unit=unit,
        nifti=header.binaryblock,
        notes=two_sizes(header, layout.dims),
    )


def encode_nifti(
    grid: Image | Mask,
    *,
    zipped: bool = True,
    step: float | None = None,
    names: Sequence[str] = (),
) -> bytes:
    """A NIfTI file on the grid's own affine; a flat grid is one slice, ``(x, y, 1)``.

    Where the grid comes from a NIfTI file, the new one says of its place what that one said: both
    forms with their codes, units and all.

    Args:
        grid: What is written.
        zipped: Into gzip, without a date, so that equal grids are equal files.
        step: Of 16-bit whole numbers that stand for the values, from 0 on; None writes the values.
        names: Of the channels, as JSON in a comment behind the header.

    Raises:
        UnsupportedImageError: NIfTI has no such voxel type.
    """
    array = grid.stored[np.newaxis] if isinstance(grid, Mask) else grid.array
    if step is not None:
        array = np.rint(array / step).astype(np.uint16)
    if grid.dims == 2:
        array = array[:, np.newaxis]
    array = array.T if len(array) > 1 else array[0].T
    image = nifti_of(array, grid)
    if step is not None:
        image.header.set_slope_inter(step, 0)
    if names:
        comment = json.dumps({"channels": list(names)}).encode()
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", comment))
    content = bytes(image.to_bytes())
    return gzip.compress(content, compresslevel=1, mtime=0) if zipped else content


@runtime_checkable
class Placed(Protocol):
    """What a NIfTI header is told of a grid."""

    @property
    def spacing(self) -> Spacing | None:
        """In mm."""
        ...

    @property
    def affine(self) -> Affine | None:
        """To RAS+ mm."""
        ...

    @property
    def unit(self) -> str:
        """A key of ``MM``."""
        ...

    @property
    def nifti(self) -> bytes | None:
        """The header's bytes of the NIfTI file that the grid comes from, or None."""
        ...


def nifti_of(array: Real[np.ndarray, "*xyz"], grid: Placed) -> Any:
    """Nibabel's image of an array ``(x, y, z, ...)`` that lies on a grid.

    Raises:
        UnsupportedImageError: NIfTI has no such voxel type.
    """
    spacing, affine = grid.spacing, grid.affine
    like = None if grid.nifti is None else parse_header(grid.nifti)
    if like is not None and not _is_still_true(like, grid):
        like = None
    is_second = isinstance(like, nibabel.Nifti2Header) or max(array.shape) > LONGEST_NIFTI1_AXIS
    kind = nibabel.Nifti2Image if is_second else nibabel.Nifti1Image
    try:
        image = kind(array, None, dtype=array.dtype)  # an affine here would change the header later
    except HeaderDataError as error:
        raise UnsupportedImageError(
            f"a NIfTI file cannot hold {array.dtype}; convert the image to float32"
        ) from error
    if like is not None:
        for field in PLACE:
            image.header[field] = like[field]
        if array.ndim > 3 and image.header["pixdim"][4] == 0:  # ITK opens no such axis
            image.header["pixdim"][4] = 1
        return image
    unit = UNITS_OF_MM.get(MM_OF[grid.unit], "mm")
    mm = MM[unit]
    if spacing is not None and affine is None:
        image.header.set_zooms((*(size / mm for size in spacing[::-1]), 1.0, 1.0)[: array.ndim])
    if affine is not None:
        _set_position(image.header, np.diag([1 / mm, 1 / mm, 1 / mm, 1.0]) @ affine)
    if affine is not None or spacing is not None:
        image.header.set_xyzt_units(unit)
    return image


def _is_still_true(header: Any, grid: Placed) -> bool:
    """Whether the header says of the grid what the grid says of itself."""
    spacing, affine = world_of(header, len(grid.spacing or (0, 0, 0)))
    if affine is None or grid.affine is None:
        return affine is grid.affine and spacing == grid.spacing
    return bool(np.allclose(affine, grid.affine, rtol=1e-6, atol=0))


def _set_position(header: Any, affine: Affine) -> None:
    """Both forms; of a sheared affine the qform is what it can be, as ITK has no shears.

    There rows and columns of the first slice lie where they do, and the slices are stacked at a
    right angle, which is how ITK reads a DICOM series whose gantry was tilted. ITK prefers the
    qform where the sform's code is "aligned"; whoever reads the sform gets the true place.
    """
    header.set_sform(affine, code="scanner")
    header.set_qform(affine, code="scanner")
    if sheared_share(affine[:3, :3].T) < 1:
        sizes = np.linalg.norm(affine[:3, :3], axis=0)
        x = affine[:3, 0] / sizes[0]
        y = affine[:3, 1] - (affine[:3, 1] @ x) * x
        y /= np.linalg.norm(y)
        z = np.cross(x, y) * np.sign(np.linalg.det(affine[:3, :3]))
        straight = np.eye(4)
        straight[:3, :3] = np.stack([x, y, z], axis=1) * sizes
        straight[:3, 3] = affine[:3, 3]
        header.set_qform(straight, code="scanner")
        header.set_sform(affine, code="aligned")


def read_to_end(stream: Stream) -> None:
    """Look at the end of a gzipped file, where its checksum is compared.

    What lies behind it, such as the line's end of a transfer as text, is none of its business.

    Raises:
        OSError: the checksum or the length is another one.
    """
    try:
        stream.read(1)
    except gzip.BadGzipFile as error:
        if not str(error).startswith(NO_FURTHER_MEMBER):
            raise


def _voxels(stream: Stream, layout: Layout) -> Real[np.ndarray, "c *spatial"]:
    stored = np.empty(layout.shape, layout.dtype, order="F").T
    stream.seek(layout.offset)
    if _fill(stream, stored.data.cast("B")) < stored.nbytes:
        raise ImageError(
            f"the NIfTI header announces {stored.nbytes:,} bytes of voxels and the file holds "
            "fewer; send the whole file"
        )
    read_to_end(stream)
    return layout.decode(stored)


def _fill(stream: Stream, buffer: memoryview) -> int:
    """Number of bytes that were there."""
    filled = 0
    while filled < len(buffer):
        count = stream.readinto(buffer[filled:])
        if not count:
            break
        filled += count
    return filled
