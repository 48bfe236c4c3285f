"""MetaImage (.mha, or .mhd with its voxels beside it), ITK's own format.

Directions and origin are to LPS. Channels are interleaved. Letters: ``c`` channels. Source:
itk.org, "ITK MetaIO documentation".
"""

import os
import zlib
from math import prod
from typing import Any

import numpy as np

from seg.errors import ImageError, UnsupportedImageError
from seg.images.grid.image import Affine, Image, Spacing
from seg.images.grid.limits import ReadOptions
from seg.images.grid.units import MM
from seg.images.itk.text_header import (
    beside,
    check_dims,
    grid,
    header_lines,
    lengths,
    many_files,
    numbers,
    voxels_of_many,
)
from seg.images.storage.files import BinaryFile
from seg.images.storage.voxels import raw_voxels

METAIMAGE_WORDS = (b"ObjectType", b"NDims", b"Comment =")
"""What a header begins with; its order of lines is free."""

TYPES = {
    f"MET_{name}": np.dtype(code)
    for name, code in {
        "CHAR": "i1",
        "UCHAR": "u1",
        "SHORT": "i2",
        "USHORT": "u2",
        "INT": "i4",
        "UINT": "u4",
        "LONG": "i4",  # as ITK, whatever a long is on the machine
        "ULONG": "u4",
        "LONG_LONG": "i8",
        "ULONG_LONG": "u8",
        "FLOAT": "f4",
        "DOUBLE": "f8",
    }.items()
}

ORIGINS = ("Offset", "Position", "Origin")
ROUNDED = 1e-2
"""How much longer or shorter than 1 a direction may be."""
TURNS = ("TransformMatrix", "Rotation", "Orientation")
LPS_TO_RAS = (-1, -1, 1)


def read_metaimage(file: BinaryFile, options: ReadOptions) -> Image:
    """The image; a fourth axis holds channels, as in NIfTI.

    A header without origin and directions gives a spacing only, one without spacing nothing.
    """
    fields = _fields(file)
    dtype = _dtype(fields)
    (axes,) = lengths(fields["NDims"], 1, "NDims")
    if axes not in (2, 3, 4):
        raise UnsupportedImageError(f"a MetaImage of 2 to 4 axes is needed, got {axes}")
    sizes = lengths(fields["DimSize"], axes, "DimSize")[::-1]
    spatial = sizes[-3:]
    interleaved = _channels(fields)
    further = sizes[0] if axes == 4 else 1
    if interleaved > 1 and further > 1:
        raise UnsupportedImageError(
            "a MetaImage has channels or a fourth axis, this one has both; send one moment"
        )
    dims = check_dims(spatial, options, "MetaImage")
    options.limits.check(spatial, interleaved * further, dtype.itemsize)
    spacing, affine = _world(fields, axes, len(spatial))
    array = _voxels(file, fields, (*sizes, interleaved), dtype, options)
    array = array[..., 0] if interleaved == 1 else np.moveaxis(array, -1, 0)
    array = array.reshape(-1, *spatial)
    if dims < len(spatial):
        array = array[:, 0]
    return Image(
        np.ascontiguousarray(array),
        spacing=None if spacing is None else spacing[-dims:],
        affine=affine,
        unit=_unit(fields),
    )


def _fields(file: BinaryFile) -> dict[str, str]:
    fields = {}
    for line in header_lines(file, "ElementDataFile"):
        name, _, value = line.partition("=")
        fields[name.strip()] = value.strip()
    for needed in ("NDims", "DimSize", "ElementType", "ElementDataFile"):
        if needed not in fields:
            raise ImageError(f"the MetaImage header lacks {needed}; send the whole file")
    return fields


def _dtype(fields: dict[str, str]) -> np.dtype[Any]:
    dtype = TYPES.get(fields["ElementType"].removesuffix("_ARRAY"))
    if dtype is None or fields.get("BinaryData", "True").lower() != "true":
        raise UnsupportedImageError(
            "a MetaImage of whole or real binary numbers is needed, got "
            f"{fields['ElementType'][:20]}; write it anew, e.g. with SimpleITK"
        )
    order = fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False"))
    return dtype.newbyteorder(">" if order.lower() == "true" else "<")


def _channels(fields: dict[str, str]) -> int:
    (channels,) = lengths(fields.get("ElementNumberOfChannels", "1"), 1, "ElementNumberOfChannels")
    return channels


def _unit(fields: dict[str, str]) -> str:
    """The file's unit of length; what is not told is mm."""
    unit = fields.get("DistanceUnits", "mm").lower()
    if unit not in MM:
        raise UnsupportedImageError("a MetaImage's DistanceUnits must be mm, or m, cm, um, nm")
    return unit


def _world(fields: dict[str, str], axes: int, spatial: int) -> tuple[Spacing | None, Affine | None]:
    sizes_text = fields.get("ElementSpacing", fields.get("ElementSize"))
    if sizes_text is None:
        return None, None
    mm = MM[_unit(fields)]
    sizes = numbers(sizes_text, axes, "ElementSpacing")[:spatial] * mm
    if not sizes.all():
        raise ImageError("the MetaImage header's ElementSpacing must not be 0; repair it")
    origin_text = next((fields[name] for name in ORIGINS if name in fields), None)
    turn_text = next((fields[name] for name in TURNS if name in fields), None)
    if origin_text is None and turn_text is None:
        return tuple(abs(float(size)) for size in sizes[::-1]), None
    origin, turn = np.zeros(axes), np.eye(axes)
    if origin_text is not None:
        origin = numbers(origin_text, axes, "Offset")
    if turn_text is not None:  # one axis a row
        turn = numbers(turn_text, axes**2, "TransformMatrix").reshape(axes, axes)
        lengths = np.linalg.norm(turn[:spatial], axis=1)
        if (lengths > 0).all() and np.abs(lengths - 1).max() > ROUNDED:
            raise ImageError(
                "the MetaImage header's TransformMatrix must hold directions of length 1, got "
                f"{', '.join(f'{length:.4g}' for length in lengths)}; repair it, sizes belong into "
                "ElementSpacing"
            )
    pad = (0, 3 - spatial)  # a negative size turns its axis round, as ITK has it
    steps = [np.pad(turn[i, :spatial] * sizes[i], pad) * LPS_TO_RAS for i in range(spatial)]
    found, affine = grid(steps, np.pad(origin[:spatial] * mm, pad) * LPS_TO_RAS)
    return found, affine


def _voxels(
    file: BinaryFile,
    fields: dict[str, str],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    options: ReadOptions,
) -> Any:
    name = fields["ElementDataFile"]
    try:
        if name.upper() == "LOCAL":
            return _from(file, fields, shape, dtype)
        listed = header_lines(file, "") if name.upper().startswith("LIST") else []
        names = many_files(name, listed, "MetaImage")
        if names is not None:
            deflated = fields.get("CompressedData", "False").lower() == "true"
            return voxels_of_many(names, shape, dtype, options, "MetaImage", deflated=deflated)
        with beside(name, options, "MetaImage") as second:
            return _from(second, fields, shape, dtype)
    except zlib.error as error:
        raise ImageError(
            "the MetaImage's compressed voxels are damaged; send the whole file"
        ) from error


def _from(
    file: BinaryFile, fields: dict[str, str], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Any:
    deflated = fields.get("CompressedData", "False").lower() == "true"
    skipped = fields.get("HeaderSize", "0")
    if skipped == "-1" and not deflated:
        needed = prod(shape) * dtype.itemsize
        file.seek(max(file.seek(0, os.SEEK_END) - needed, 0))
    elif skipped != "0":
        if not skipped.isdecimal() or len(skipped) > 18:
            raise ImageError("the MetaImage's HeaderSize must be -1 or above; repair the header")
        file.seek(int(skipped), 1)
    return raw_voxels(file, shape, dtype, deflated=deflated)
