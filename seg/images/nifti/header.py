"""What a NIfTI header says: where voxels lie in the file, and where in the world.

A file's axes are ``(x, y, z, t, ...)``, first axis fastest. Letters: ``c`` channels.
"""

import contextlib
import struct
from dataclasses import dataclass
from typing import Any

import nibabel
import numpy as np
from jaxtyping import Float, Real
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from seg.errors import ImageError, UnsupportedImageError
from seg.images.grid.image import Affine, Spacing
from seg.images.grid.plausible import check_affine, check_spacing
from seg.sentences import Sentence

HEADER_BYTES = 540
"""Size of a NIfTI-2 header; a NIfTI-1 header is the first 348 of them."""

MAX_EXTENSION_BYTES = 2**26
"""What may lie between header and voxels."""

ROUNDED = 1e-3
"""How much too long a quaternion may be."""

SAME_SIZE = 0.01
"""Relative difference of voxel sizes that is rounding."""

MM = {"meter": 1e3, "mm": 1.0, "micron": 1e-3, "unknown": 1.0}
UNIT_CODES = dict(enumerate(("unknown", "meter", "mm", "micron")))
UNITS_OF_MM = {1e3: "meter", 1.0: "mm", 1e-3: "micron"}
UNITS = {"meter": "m", "mm": "mm", "micron": "um", "unknown": "mm"}
"""NIfTI's units by the names that other formats have for them."""

WAY_OUT = {
    **dict.fromkeys(("complex64", "complex128", "complex256"), "save its magnitude"),
    **dict.fromkeys(("RGB", "RGBA"), "save each colour as a channel, along a fourth axis"),
}
"""What to do about voxels of other types."""

PLACE = (
    *("pixdim", "xyzt_units", "toffset", "qform_code", "sform_code"),
    *("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("srow_x", "srow_y", "srow_z"),
)
"""Fields of a header that say where its voxels lie."""

HEADER_ERRORS = (HeaderDataError, WrapStructError, ValueError, OverflowError, LookupError)


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


def places_of(nifti: bytes) -> list[Affine]:
    """The affines that a header holds, the one that is used first, in mm.

    Programs differ in which of two forms they take, and so in what they write into a mask.
    """
    header = parse_header(nifti)
    mm = MM[unit_of(header)]
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
    for code in ("qform_code", "sform_code"):
        header[code] = max(int(header[code]), 0)  # none below 0 is a form, the standard has it
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


def unit_of(header: Any) -> str:
    """The unit of length that a header names, a key of ``MM``.

    Raises:
        ImageError: there is none of that number.
    """
    code = int(header["xyzt_units"]) % 8
    if code not in UNIT_CODES:
        raise ImageError(
            f"the NIfTI header names a unit of length by number {code} (xyzt_units), and there are "
            "0 to 3: unknown, meter, mm and micron; repair it"
        )
    return UNIT_CODES[code]


def layout_of(header: Any, dims: int | None) -> Layout:
    """Where the header says that the voxels are."""
    code = int(header["datatype"])
    if code not in nibabel.nifti1.data_type_codes:
        raise ImageError(f"the NIfTI header names voxel type {code}, which is none; repair it")
    dtype = header.get_data_dtype()
    if dtype.kind not in "uif" or dtype.itemsize > 8:
        name = header.get_value_label("datatype")
        raise UnsupportedImageError(
            f"a NIfTI file of whole or real numbers up to 64 bits is needed, got {name}; "
            + WAY_OUT.get(name, "save it as float32")
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


def world_of(header: Any, dims: int) -> tuple[Spacing | None, Affine | None]:
    """Spacing (z, y, x) and affine, in mm."""
    unit = unit_of(header)
    mm = MM[unit]
    if header["sform_code"] == 0 and header["qform_code"] == 0:
        sizes = np.abs(header["pixdim"][1 : dims + 1])
        nothing_said = unit == "unknown" and bool((sizes == 1).all())
        if nothing_said:
            return None, None
        spacing = _shortest(sizes * mm)
        check_spacing(spacing, dims)
        return spacing, None
    affine = np.diag([mm, mm, mm, 1.0]) @ header.get_best_affine()
    check_affine(affine, dims)
    return _shortest(np.linalg.norm(affine[:3, :dims], axis=0)), affine


def two_sizes(header: Any, dims: int) -> tuple[str, ...]:
    """What is to be said where the transformation (sform) has voxels of another size than pixdim.

    The affine is the sform's, as nibabel has it; ITK, and so Slicer and nnU-Net, takes the sizes of
    pixdim.
    """
    if header["sform_code"] == 0:
        return ()
    mm = MM[unit_of(header)]
    told = np.abs(header["pixdim"][1 : dims + 1]) * mm
    taken = np.linalg.norm(header.get_sform()[:3, :dims], axis=0) * mm
    if np.allclose(told, taken, rtol=SAME_SIZE, atol=0):
        return ()
    here, there = (" x ".join(f"{size:g}" for size in _shortest(each)) for each in (taken, told))
    sentence = (
        f"the NIfTI header tells two sizes of a voxel: {here} mm by its sform, which is taken, "
        f"and {there} mm by its pixdim, which ITK takes (3D Slicer, nnU-Net)"
    )
    return (Sentence(sentence, "two_voxel_sizes", here=here, there=there),)


def _shortest(sizes: Float[np.ndarray, "axes"]) -> Spacing:
    # The file keeps 0.7 as the float32 0.699999988; its shortest decimal is what was meant.
    return tuple(float(str(np.float32(size))) for size in sizes[::-1])
