"""NIfTI-1 and NIfTI-2, plain or gzipped, their headers through nibabel.

A file's axes are ``(x, y, z, t, ...)``, first axis fastest, so its array read backwards is ours.
A gzipped file is inflated no further than its header says. Letters: ``c`` channels.
"""

import contextlib
import gzip
import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import nibabel
import numpy as np
from jaxtyping import Float, Real
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from seg.errors import ImageError, UnsupportedImageError
from seg.images.grid.image import Affine, Image, Mask, Spacing, sheared_share
from seg.images.grid.limits import ReadOptions
from seg.images.grid.units import MM as MM_OF
from seg.images.storage.files import BinaryFile

HEADER_BYTES = 540
"""Size of a NIfTI-2 header; a NIfTI-1 header is the first 348 of them."""

MAX_EXTENSION_BYTES = 2**26
"""What may lie between header and voxels."""

ROUNDED = 1e-3
"""How much too long a quaternion may be."""

NO_FURTHER_MEMBER = "Not a gzipped file"
"""How the library begins its complaint of what lies behind the end."""

LONGEST_NIFTI1_AXIS = 2**15 - 1

MM = {"meter": 1e3, "mm": 1.0, "micron": 1e-3, "unknown": 1.0}
UNITS_OF_MM = {1e3: "meter", 1.0: "mm", 1e-3: "micron"}
UNITS = {"meter": "m", "mm": "mm", "micron": "um", "unknown": "mm"}
"""NIfTI's units by the names that other formats have for them."""

PLACE = (
    *("pixdim", "xyzt_units", "toffset", "qform_code", "sform_code"),
    *("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("srow_x", "srow_y", "srow_z"),
)
"""Fields of a header that say where its voxels lie."""

HEADER_ERRORS = (HeaderDataError, WrapStructError, ValueError, OverflowError, LookupError)
Stream = gzip.GzipFile | BinaryFile

STREAM_ERRORS = (OSError, EOFError, zlib.error, struct.error)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the voxels lie in the file and how they are to be seen."""

    dtype: np.dtype[Any]
    offset: int
    shape: tuple[int, ...]
    """The file's axes ``(x, y, z, c)``, without z in 2D."""
    slope: float
    inter: float

    @property
    def dims(self) -> int:
        """2 or 3."""
        return len(self.shape) - 1

    @property
    def is_scaled(self) -> bool:
        """The numbers in the file are not the intensities."""
        return (self.slope, self.inter) != (1.0, 0.0)

    @property
    def decoded(self) -> np.dtype[Any]:
        """Type of the intensities; scaled ones are as exact as what they come from."""
        if not self.is_scaled:
            return self.dtype.newbyteorder("=")
        return np.dtype(np.float32 if self.dtype.itemsize <= 2 else np.float64)

    def decode(self, stored: Real[np.ndarray, "c *spatial"]) -> Real[np.ndarray, "c *spatial"]:
        """The intensities of the numbers in the file."""
        array = stored.astype(self.decoded, copy=False)
        if self.is_scaled:
            array *= self.slope
            array += self.inter
        return array


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
    unit = UNITS[header.get_xyzt_units()[0]]
    return Image(array, spacing=spacing, affine=affine, unit=unit, nifti=header.binaryblock)


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


def places_of(nifti: bytes) -> list[Affine]:
    """The affines that a header holds, the one that is used first, in mm.

    Programs differ in which of two forms they take, and so in what they write into a mask.
    """
    header = parse_header(nifti)
    mm = MM[header.get_xyzt_units()[0]]
    forms = [header.get_best_affine()]
    forms += [header.get_sform()] if header["sform_code"] else []
    with contextlib.suppress(ValueError, HeaderDataError):  # a quaternion may be none
        forms += [header.get_qform()] if header["qform_code"] else []
    return [np.diag([mm, mm, mm, 1.0]) @ form for form in forms]


def parse_header(block: bytes) -> Any:
    """The header with which a file begins."""
    sizes = {struct.pack(order + "i", size): size for order in "<>" for size in (348, 540)}
    size = sizes.get(block[:4])
    if size is None:
        raise UnsupportedImageError(
            "gzip is read around NIfTI only, this file holds something else; send it unpacked"
        )
    if len(block) < size:
        raise ImageError("the NIfTI file ends within its header; send the whole file")
    kind = nibabel.Nifti1Header if size == 348 else nibabel.Nifti2Header
    header = kind(block[:size], check=False)  # the check would turn a spacing of zero into one
    if abs(header["pixdim"][0]) != 1:  # the side of the z axis; the standard reads others as 1
        header["pixdim"][0] = 1
    header["pixdim"][1:4] = np.abs(header["pixdim"][1:4])  # a size; what turns axes is the form
    _mend_quaternion(header)
    if bytes(header["magic"])[:2] != b"n+":
        raise UnsupportedImageError(
            "a NIfTI file in one piece is read, this is one half of a .hdr/.img pair; "
            "convert it to .nii.gz"
        )
    return header


def _mend_quaternion(header: Any) -> None:
    """Three parts of a unit quaternion that rounding made a little too long: a half turn.

    Source: niftilib, nifti_quatern_to_mat44.
    """
    names = ("quatern_b", "quatern_c", "quatern_d")
    parts = np.array([float(header[name]) for name in names])
    length = float(np.linalg.norm(parts))
    if 1 < length <= 1 + ROUNDED:
        for name, part in zip(names, np.nextafter(parts / length, 0), strict=True):
            header[name] = np.nextafter(np.float32(part), np.float32(0))


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


def layout_of(header: Any, dims: int | None) -> Layout:
    """Where the header says that the voxels are."""
    code = int(header["datatype"])
    if code not in nibabel.nifti1.data_type_codes:
        raise ImageError(f"the NIfTI header names voxel type {code}, which is none; repair it")
    dtype = header.get_data_dtype()
    if dtype.kind not in "uif" or dtype.itemsize > 8:
        raise UnsupportedImageError(
            f"a NIfTI file of whole or real numbers up to 64 bits is needed, got {dtype}; "
            "save magnitude, or one channel a file"
        )
    offset = int(header.get_data_offset())
    if not 0 <= offset <= MAX_EXTENSION_BYTES:
        raise ImageError(f"the NIfTI header puts the voxels at byte {offset}; repair it")
    offset = max(offset, header.single_vox_offset)  # 0 where a program did not say
    slope, inter = header.get_slope_inter()
    return Layout(
        dtype=dtype,
        offset=offset,
        shape=_shape(tuple(int(n) for n in header.get_data_shape()), dims),
        slope=1.0 if slope is None else float(slope),
        inter=0.0 if inter is None else float(inter),
    )


def _shape(shape: tuple[int, ...], dims: int | None) -> tuple[int, ...]:
    """The file's axes as ``(x, y, z, c)``, without z in 2D."""
    if len(shape) < 2 or min(shape) < 1:
        raise ImageError(f"a NIfTI file needs at least axes x and y, none empty, got {shape}")
    if dims == 3 and len(shape) == 2:
        raise ImageError(f"a volume is needed, the NIfTI file is flat: {shape}")
    depth = shape[2] if len(shape) > 2 else 1
    if dims == 2 and depth > 1:
        raise ImageError(
            f"a 2D image is needed, the NIfTI file is a volume of {depth} slices; send one slice"
        )
    further = [length for length in shape[3:] if length > 1] or [1]
    if len(further) > 1:
        raise UnsupportedImageError(
            f"at most four axes are read, x, y, z and channels, got {shape}; send one moment"
        )
    flat = dims == 2 or len(shape) == 2
    return (*shape[:2], further[0]) if flat else (*shape[:2], depth, further[0])


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


def world_of(header: Any, dims: int) -> tuple[Spacing | None, Affine | None]:
    """Spacing (z, y, x) and affine, in mm."""
    unit = header.get_xyzt_units()[0]
    mm = MM[unit]
    if header["sform_code"] == 0 and header["qform_code"] == 0:
        sizes = np.abs(header["pixdim"][1 : dims + 1])
        nothing_said = unit == "unknown" and bool((sizes == 1).all())
        return (None if nothing_said else _shortest(sizes * mm)), None
    affine = np.diag([mm, mm, mm, 1.0]) @ header.get_best_affine()
    if not np.isfinite(affine).all():
        raise ImageError("the NIfTI affine holds NaN or infinite numbers; repair the header")
    if abs(np.linalg.det(affine[:3, :3])) == 0:
        raise ImageError("the NIfTI affine maps the volume onto a plane; repair the header")
    return _shortest(np.linalg.norm(affine[:3, :dims], axis=0)), affine


def _shortest(sizes: Float[np.ndarray, "axes"]) -> Spacing:
    # The file keeps 0.7 as the float32 0.699999988; its shortest decimal is what was meant.
    return tuple(float(str(np.float32(size))) for size in sizes[::-1])
