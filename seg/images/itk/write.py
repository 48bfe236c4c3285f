"""NRRD and MetaImage as ITK reads them, their axes ``(x, y, z)`` in LPS+ mm.

Sources: Kindlmann, "Definition of NRRD File Format", teem.sourceforge.net/nrrd/format.html; MetaIO,
docs.itk.org. Letters: ``c`` channels.
"""

import gzip
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped

from seg.errors import UnsupportedImageError
from seg.images.grid.image import Image, Mask
from seg.images.grid.units import MM
from seg.images.grid.world import directions, lps_affine

TYPES = {  # what NRRD and MetaImage call them
    "uint8": ("uint8", "MET_UCHAR"),
    "int8": ("int8", "MET_CHAR"),
    "uint16": ("uint16", "MET_USHORT"),
    "int16": ("int16", "MET_SHORT"),
    "uint32": ("uint32", "MET_UINT"),
    "int32": ("int32", "MET_INT"),
    "uint64": ("uint64", "MET_ULONG_LONG"),
    "int64": ("int64", "MET_LONG_LONG"),
    "float32": ("float", "MET_FLOAT"),
    "float64": ("double", "MET_DOUBLE"),
}
DISTANCE_UNITS = ("um", "cm")
"""Those that MetaIO has beside mm."""
LEVEL = 4
"""Of compression: masks get hardly smaller with more of it, and take twice as long."""


def encode_itk(
    grid: Image | Mask,
    suffix: str,
    names: Mapping[str, str] | None = None,
    *,
    zipped: bool = True,
    channels: str = "vector",
) -> bytes:
    """An NRRD (``.nrrd``) or MetaImage file (``.mha``) on the grid's own affine.

    A flat grid with an affine is a volume of one slice; without a position the file says origin 0
    and spacing 1 mm, since ITK has no word for "not known".

    Args:
        grid: What is written; channels become components.
        suffix: Chooses the format.
        names: Further fields of an NRRD header, each on one line.
        zipped: An NRRD file is compressed, as a MetaImage file always is.
        channels: Kind of an NRRD file's axis of channels.

    Raises:
        UnsupportedImageError: the formats have no such voxel type, or no such affine.
    """
    if grid.array.dtype.name not in TYPES:
        raise UnsupportedImageError(
            f"NRRD and MetaImage hold {', '.join(TYPES)}, got {grid.array.dtype}; "
            "convert to float32"
        )
    laid = _laid_out(grid)
    if suffix != ".nrrd":
        return _metaimage(laid)
    return _nrrd(laid, names or {}, channels, zipped=zipped)


@dataclass(frozen=True)
class _LaidOut:
    """A grid as both formats want it."""

    voxels: Shaped[np.ndarray, "*spatial c"]
    steps: Float[np.ndarray, "d d"]
    """From a voxel to its neighbour along x, y, z: one axis a row, in mm."""
    origin: Float[np.ndarray, "d"]
    unit: str
    """Of length in the file that the grid comes from, a key of ``MM``."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Voxels along x, y, z."""
        return self.voxels.shape[-2::-1]

    @property
    def channels(self) -> int:
        return int(self.voxels.shape[-1])

    def content(self) -> bytes:
        return self.voxels.astype(self.voxels.dtype.newbyteorder("<")).tobytes()


def _laid_out(grid: Image | Mask) -> _LaidOut:
    array = grid.array[np.newaxis] if isinstance(grid, Mask) else grid.array
    voxels = np.moveaxis(array, 0, -1)
    # ITK reads these formats without a look at their unit, and NIfTI in mm whatever its unit is
    unit = grid.unit if grid.nifti is None else "mm"
    if grid.dims == 2 and grid.affine is None:
        return _LaidOut(voxels, np.diag((grid.spacing or (1.0, 1.0))[::-1]), np.zeros(2), unit)
    affine = lps_affine(grid)
    directions(affine)  # refuses what is flat
    return _LaidOut(
        voxels if grid.dims == 3 else voxels[np.newaxis], affine[:3, :3].T, affine[:3, 3], unit
    )


def _nrrd(laid: _LaidOut, names: Mapping[str, str], channels: str, *, zipped: bool) -> bytes:
    d, several = len(laid.sizes), laid.channels > 1
    sizes = (laid.channels, *laid.sizes) if several else laid.sizes
    mm = MM[laid.unit]
    # what was told in mm is told without a unit, as ITK does
    quoted = _spaced([f'"{laid.unit}"'] * d)
    units = [f"space units: {quoted}"] if mm != 1 else []
    lines = [
        "NRRD0004",
        f"type: {TYPES[laid.voxels.dtype.name][0]}",
        f"dimension: {len(sizes)}",
        "space: left-posterior-superior" if d == 3 else "space dimension: 2",
        f"sizes: {_spaced(sizes)}",
        f"space directions: {_spaced(['none'] * several + [_vector(s / mm) for s in laid.steps])}",
        *units,
        f"kinds: {_spaced([channels] * several + ['domain'] * d)}",
        "endian: little",
        f"encoding: {'gzip' if zipped else 'raw'}",
        f"space origin: {_vector(laid.origin / mm)}",
        *(f"{name}:={_on_a_line(value)}" for name, value in names.items()),
    ]
    content = laid.content()
    voxels = gzip.compress(content, LEVEL, mtime=0) if zipped else content
    return _header(lines) + b"\n" + voxels


def _metaimage(laid: _LaidOut) -> bytes:
    unit = laid.unit if laid.unit in DISTANCE_UNITS else "mm"
    mm = MM[unit]
    lengths = np.linalg.norm(laid.steps, axis=1)
    content = zlib.compress(laid.content(), LEVEL)
    lines = [
        "ObjectType = Image",
        f"NDims = {len(laid.sizes)}",
        "BinaryData = True",
        "BinaryDataByteOrderMSB = False",
        "CompressedData = True",
        f"CompressedDataSize = {len(content)}",
        f"TransformMatrix = {_spaced(map(float, (laid.steps / lengths[:, np.newaxis]).ravel()))}",
        f"Offset = {_spaced(map(float, laid.origin / mm))}",
        f"ElementSpacing = {_spaced(map(float, lengths / mm))}",
        *([f"DistanceUnits = {unit}"] if mm != 1 else []),
        f"DimSize = {_spaced(laid.sizes)}",
        *([f"ElementNumberOfChannels = {laid.channels}"] if laid.channels > 1 else []),
        f"ElementType = {TYPES[laid.voxels.dtype.name][1]}",
        "ElementDataFile = LOCAL",
    ]
    return _header(lines) + content


def _header(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _on_a_line(text: str) -> str:
    return " ".join(text.split()).replace("\\", "\\\\")


def _spaced(values: Iterable[object]) -> str:
    return " ".join(map(str, values))


def _vector(values: Float[np.ndarray, "d"]) -> str:
    return f"({','.join(str(float(value)) for value in values)})"
