"""NRRD, with its voxels in the same file or beside it.

A file's axes are told fastest first, so its array read backwards is ours. Source: Kindlmann,
"Definition of NRRD File Format", teem.sourceforge.net/nrrd/format.html. Letters: ``c`` channels.
"""

import os
import re
import zlib
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from jaxtyping import Float

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

TYPES = {
    name: np.dtype(code)
    for code, names in {
        "i1": "signed char|int8|int8_t",
        "u1": "uchar|unsigned char|uint8|uint8_t",
        "i2": "short|short int|signed short|signed short int|int16|int16_t",
        "u2": "ushort|unsigned short|unsigned short int|uint16|uint16_t",
        "i4": "int|signed int|int32|int32_t",
        "u4": "uint|unsigned int|uint32|uint32_t",
        "i8": "longlong|long long|long long int|signed long long|signed long long int|int64"
        "|int64_t",
        "u8": "ulonglong|unsigned long long|unsigned long long int|uint64|uint64_t",
        "f4": "float",
        "f8": "double",
    }.items()
    for name in names.split("|")
}

TO_RAS = {
    "right-anterior-superior": (1, 1, 1),
    "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "las": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1),
    "lps": (-1, -1, 1),
}

SPATIAL_KINDS = ("domain", "space")
UNKNOWN_KINDS = ("???", "none")
DEFLATED = ("gzip", "gz")
LISTED = "\n"
"""No field has this name: the lines behind the word LIST, each a file with voxels."""


@dataclass(frozen=True, slots=True)
class _Axis:
    """One axis of the file."""

    length: int
    kind: str
    step: Float[np.ndarray, "n"] | None
    """Along the axis, in the file's space."""
    size: float | None
    """Distance of samples where there is no space."""

    @property
    def is_spatial(self) -> bool:
        """It runs through space."""
        return self.kind in SPATIAL_KINDS or (self.kind in UNKNOWN_KINDS and self.step is not None)


def read_nrrd(file: BinaryFile, options: ReadOptions) -> Image:
    """The image; an axis that is not spatial holds channels.

    Spaces RAS, LAS and LPS give an affine; others, and headers without an origin, a spacing only.
    """
    fields = _fields(file)
    dtype = _dtype(fields)
    axes = _axes(fields)
    spatial = tuple(axis.length for axis in axes if axis.is_spatial)[::-1]
    if len(spatial) not in (2, 3) or len(axes) > len(spatial) + 1:
        raise UnsupportedImageError(
            f"an NRRD file of 2 or 3 spatial axes and one of channels is needed, got {len(axes)} "
            f"axes of which {len(spatial)} are spatial; name them by kinds"
        )
    dims = check_dims(spatial, options, "NRRD")
    others = [i for i, axis in enumerate(axes[::-1]) if not axis.is_spatial]
    channels = axes[::-1][others[0]].length if others else 1
    if others and axes[::-1][others[0]].kind == "complex":
        raise UnsupportedImageError(
            "an NRRD file of whole or real numbers is needed, got complex ones; save its magnitude"
        )
    if others and axes[::-1][others[0]].kind == "time" and channels > 1:
        raise UnsupportedImageError(
            f"one moment is needed, the NRRD file holds {channels}; send its frames one by one"
        )
    options.limits.check(spatial, channels, dtype.itemsize)
    spacing, affine = _world(fields, [axis for axis in axes if axis.is_spatial])
    array = _voxels(file, fields, tuple(axis.length for axis in axes[::-1]), dtype, options)
    array = np.moveaxis(array, others[0], 0) if others else array[np.newaxis]
    if dims < len(spatial):
        array = array[:, 0]
    return Image(
        np.ascontiguousarray(array),
        spacing=None if spacing is None else spacing[-dims:],
        affine=affine,
        unit=_unit(fields),
    )


def _fields(file: BinaryFile) -> dict[str, str]:
    """The header's fields; the file stands behind the empty line that ends it."""
    fields = {}
    lines = header_lines(file, "")[1:]
    for number, line in enumerate(lines):
        name, colon, value = line.partition(":")
        if colon and not line.startswith("#") and not value.startswith("="):
            fields[name.strip().lower().replace("datafile", "data file")] = value.strip()
        if fields.get("data file", "").upper().startswith("LIST"):
            fields[LISTED] = "\n".join(lines[number + 1 :])
            break
    for needed in ("type", "dimension", "sizes", "encoding"):
        if needed not in fields:
            raise ImageError(f"the NRRD header lacks {needed}; send the whole file")
    return fields


def _dtype(fields: dict[str, str]) -> np.dtype[Any]:
    dtype = TYPES.get(fields["type"].lower())
    if dtype is None:
        raise UnsupportedImageError(
            "an NRRD file of whole or real numbers is needed, got type "
            f"{fields['type'][:20]}; convert it to float"
        )
    endian = fields.get("endian", "").lower()
    if dtype.itemsize > 1 and endian not in ("little", "big"):
        raise ImageError("the NRRD header must say endian: little or big; repair it")
    return dtype.newbyteorder(">" if endian == "big" else "<")


def _axes(fields: dict[str, str]) -> list[_Axis]:
    (count,) = lengths(fields["dimension"], 1, "dimension")
    if count > 16:
        raise ImageError(f"an NRRD file has at most 16 axes, got {count}; repair the header")
    sizes = lengths(fields["sizes"], count, "sizes")
    steps = _directions(fields, count)
    kinds = fields.get("kinds", "").lower().split()
    if not kinds:  # then directions tell which axes are spatial, or else the last three are
        told = any(step is not None for step in steps)
        kinds = ["???" if told or i < count - 3 else "domain" for i in range(count)]
        kinds = ["list" if told and steps[i] is None else kind for i, kind in enumerate(kinds)]
    kinds, steps = _without_time(kinds, steps)
    spacings = fields.get("spacings", "").split() or ["nan"] * count
    if len(kinds) != count or len(spacings) != count:
        raise ImageError(
            f"the NRRD header needs {count} kinds and spacings, one an axis; repair it"
        )
    return [
        _Axis(size, kind, step, _size(spacing))
        for size, kind, step, spacing in zip(sizes, kinds, steps, spacings, strict=True)
    ]


def _without_time(
    kinds: list[str], steps: list[Float[np.ndarray, "_"] | None]
) -> tuple[list[str], list[Float[np.ndarray, "_"] | None]]:
    """Of a space of four dimensions, as ITK writes series, the fourth is time."""
    if not any(step is not None and len(step) == 4 for step in steps):
        return kinds, steps
    runs = [step is not None and len(step) == 4 and bool(step[3]) for step in steps]
    if any(
        at and step is not None and step[:3].any() for at, step in zip(runs, steps, strict=True)
    ):
        raise ImageError(
            "an axis of the NRRD file runs through space and time at once; save one moment as a "
            "volume"
        )
    return (
        ["time" if at else kind for at, kind in zip(runs, kinds, strict=True)],
        [None if at or step is None else step[:3] for at, step in zip(runs, steps, strict=True)],
    )


def _size(text: str) -> float | None:
    try:
        size = abs(float(text))
    except ValueError as error:
        raise ImageError("the NRRD header's spacings must be numbers; repair it") from error
    return None if np.isnan(size) else size


def _directions(fields: dict[str, str], count: int) -> list[Float[np.ndarray, "n"] | None]:
    if "space directions" not in fields:
        return [None] * count
    words = re.findall(r"\([^()]*\)|[^\s()]+", fields["space directions"])
    if len(words) != count:
        raise ImageError(f"the NRRD header needs {count} space directions, one an axis; repair it")
    return [None if word.lower() == "none" else _vector(word) for word in words]


def _vector(text: str) -> Float[np.ndarray, "n"]:
    parts = text.strip("() ").split(",")
    if len(parts) not in (2, 3, 4):
        raise ImageError("an NRRD vector has 2 to 4 numbers, as (1,0,0); repair the header")
    return numbers(" ".join(parts), len(parts), "vector")


def _world(fields: dict[str, str], axes: list[_Axis]) -> tuple[Spacing | None, Affine | None]:
    mm = MM[_unit(fields)]
    steps = [axis.step for axis in axes if axis.step is not None]
    if len(steps) < len(axes):
        sizes = [axis.size for axis in axes[::-1]]
        told = tuple(size * mm for size in sizes if size is not None)
        return (told if len(told) == len(sizes) else None), None
    if len({len(step) for step in steps}) > 1:
        raise ImageError("the NRRD header's space directions differ in length; repair it")
    solid = [np.pad(step, (0, 3 - len(step))) * mm for step in steps]
    space = re.sub(r"-time$|(?<=^[rl][ap]s)t$", "", fields.get("space", "").lower())
    signs = TO_RAS.get(space)
    if signs is None or "space origin" not in fields:
        return grid(solid, np.zeros(3))[0], None
    origin = _vector(fields["space origin"])[:3] * mm
    if len(origin) != 3 or len(steps[0]) != 3:
        raise ImageError("the NRRD header's space needs vectors of 3 numbers; repair it")
    return grid([step * signs for step in solid], origin * signs)


def _unit(fields: dict[str, str]) -> str:
    """The file's unit of length; what is not told is mm."""
    units: set[str] = set(re.findall(r'"([^"]*)"', fields.get("space units", ""))) - {""}
    if not units:
        return "mm"
    if len(units) > 1 or next(iter(units)).lower() not in MM:
        raise UnsupportedImageError(
            "the NRRD header's space units must be all mm, or m, cm, um, nm"
        )
    return units.pop().lower()


def _voxels(
    file: BinaryFile,
    fields: dict[str, str],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    options: ReadOptions,
) -> Any:
    encoding = fields["encoding"].lower()
    if encoding not in ("raw", *DEFLATED):
        raise UnsupportedImageError(
            f"NRRD encodings raw and gzip are read, got {encoding[:20]}; save it as gzip"
        )
    try:
        deflated = encoding in DEFLATED
        names = many_files(fields.get("data file", ""), fields.get(LISTED, "").split("\n"), "NRRD")
        if names is not None:
            return voxels_of_many(names, shape, dtype, options, "NRRD", deflated=deflated)
        if "data file" not in fields:
            _skip(file, fields, shape, dtype)
            return raw_voxels(file, shape, dtype, deflated=deflated)
        with beside(fields["data file"], options, "NRRD") as second:
            _skip(second, fields, shape, dtype)
            return raw_voxels(second, shape, dtype, deflated=deflated)
    except zlib.error as error:
        raise ImageError(
            "the NRRD file's compressed voxels are damaged; send the whole file"
        ) from error


def _skip(
    file: BinaryFile, fields: dict[str, str], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> None:
    """Go to the first voxel, as ``byte skip`` says; -1 counts from the end."""
    if fields.get("line skip", fields.get("lineskip", "0")) != "0":
        raise UnsupportedImageError("NRRD files with a line skip are not read; write the file anew")
    skipped = fields.get("byte skip", fields.get("byteskip", "0"))
    if skipped == "0":
        return
    if fields["encoding"].lower() != "raw" or not re.fullmatch(r"-1|\d{1,18}", skipped):
        raise UnsupportedImageError(
            "an NRRD byte skip is read for raw voxels only, -1 or above; write the file anew"
        )
    needed = prod(shape) * dtype.itemsize
    if skipped == "-1":
        file.seek(max(file.seek(0, os.SEEK_END) - needed, 0))
    else:
        file.seek(int(skipped), 1)
