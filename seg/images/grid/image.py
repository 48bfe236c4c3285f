"""``Image`` and ``Mask``: the only two types that travel between rooms.

Axis order is ``(c, z, y, x)``, without z in 2D. Letters: ``c`` channels.
"""

from dataclasses import dataclass, field, fields
from math import prod
from typing import Any

import numpy as np
from jaxtyping import Float, Integer, Real, UInt8, UInt32

from seg.errors import ImageError
from seg.images.grid.plausible import check_affine, check_spacing, share_of_box

Spacing = tuple[float, ...]
"""Millimetres a voxel, one number a spatial axis, in the order of the array: (z, y, x)."""
Affine = Float[np.ndarray, "4 4"]
"""From voxel indices (x, y, z) to RAS+ millimetres, as NIfTI has it."""
RIGHT_ANGLE = 1e-4
"""Share of a volume that rounded direction cosines may cost: 0.8 degrees."""


@dataclass(frozen=True, eq=False)
class _Grid:
    """Where an array lies in the world."""

    array: np.ndarray
    spacing: Spacing | None = None
    """Distance of neighbouring voxels in mm, one number a spatial axis; None where the file
    says nothing, as most PNG files do."""
    affine: Affine | None = None
    """Maps voxel indices ``(x, y, z, 1)``, the array's axes in reverse, to RAS+ world mm."""
    unit: str = field(default="mm", kw_only=True)
    """Of length in the file, a key of ``MM``: what is written for this image says the same."""
    nifti: bytes | None = field(default=None, kw_only=True)
    """The header's bytes of the NIfTI file, where the grid comes from one: its forms, codes and
    units are those of the masks and maps that are written as NIfTI."""
    reduction: tuple[float, ...] | None = field(default=None, kw_only=True)
    """Pixels of the file for each of the array's, one number a spatial axis, where it was read at
    another resolution."""

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Size along the spatial axes."""
        raise NotImplementedError

    @property
    def dims(self) -> int:
        """2 or 3."""
        return len(self.spatial_shape)

    @property
    def place(self) -> dict[str, Any]:
        """All that says where the array lies, for another one that lies there."""
        return {each.name: getattr(self, each.name) for each in fields(_Grid)[1:]}

    @property
    def steps(self) -> Float[np.ndarray, "axis world"] | None:
        """The way in mm from a voxel to its neighbour, one row a spatial axis of the array.

        Rows are at right angles but for sheared affines, as a tilted gantry gives them. None where
        the spacing is not known.
        """
        if self.affine is not None:
            return np.ascontiguousarray(self.affine[:3, : self.dims].T[::-1])
        return None if self.spacing is None else np.diag(self.spacing)

    @property
    def voxel_extent(self) -> float | None:
        """Volume of a voxel in mm³, or area of a pixel in mm²; None where it is not known."""
        if self.spacing is None:
            return None
        return prod(self.spacing) * sheared_share(self.steps)

    def _check(self) -> None:
        if self.dims not in (2, 3) or 0 in self.array.shape:
            raise ImageError(
                f"an image has 2 or 3 spatial axes and no empty one, got {self.spatial_shape}"
            )
        if self.spacing is not None:
            check_spacing(self.spacing, self.dims)
        if self.affine is not None:
            check_affine(self.affine, self.dims)


def sheared_share(steps: Float[np.ndarray, "axis world"] | None) -> float:
    """What a parallelepiped of these sides has of the volume of a box of them: 1 unless sheared.

    Headers hold rounded numbers, so that less than ``RIGHT_ANGLE`` is no shear.
    """
    if steps is None:
        return 1.0
    sides = steps / np.linalg.norm(steps, axis=1, keepdims=True)
    share = share_of_box(sides.T)
    return 1.0 if share > 1 - RIGHT_ANGLE else share


@dataclass(frozen=True, eq=False)
class Image(_Grid):
    """Channels over a 2D or 3D grid: array ``(c, *spatial)`` in the file's own dtype."""

    array: Real[np.ndarray, "c *spatial"]
    headers: tuple[Any, ...] = ()
    """pydicom Datasets without pixel data, where the image comes from DICOM: one a slice in the
    order of the array's first spatial axis, or a single one for a 2D image or a multi-frame file.
    A DICOM SEG or RTSTRUCT refers to its source by them."""
    notes: tuple[str, ...] = ()
    """What its reader has to say of it, such as how many files were left out."""
    file_name: str | None = None
    """Of the file or folder that it was read from, without its path; None of bytes."""

    def __post_init__(self) -> None:
        self._check()

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Size along the spatial axes."""
        return self.array.shape[1:]

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self.array.shape[0])

    @classmethod
    def on_grid_of(cls, grid: _Grid, array: Real[np.ndarray, "c *spatial"]) -> "Image":
        """An image, such as a map of probabilities, that lies exactly where another grid lies."""
        return cls(array, **grid.place)

    def read(self, region: tuple[slice, ...]) -> Real[np.ndarray, "c *region"]:
        """A part of it, as of an image that stays in its file."""
        return self.array[(slice(None), *region)]


@dataclass(frozen=True, eq=False)
class Mask(_Grid):
    """One class index a voxel: array ``(*spatial)``, 0 is background."""

    array: Integer[np.ndarray, "*spatial"]

    def __post_init__(self) -> None:
        self._check()

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Size along the spatial axes."""
        return self.array.shape

    @property
    def stored(self) -> UInt8[np.ndarray, "*spatial"] | UInt32[np.ndarray, "*spatial"]:
        """As files hold it: classes in 8 bits, numbers of objects (uint32) in 32."""
        return self.array if self.array.dtype == np.uint32 else self.array.astype(np.uint8)

    @classmethod
    def on_grid_of(cls, image: Image, labels: Integer[np.ndarray, "*spatial"]) -> "Mask":
        """A mask that lies exactly where the image lies."""
        if labels.shape != image.spatial_shape:
            raise ImageError(
                f"a mask of {labels.shape} does not lie on an image of {image.spatial_shape}"
            )
        return cls(labels, **image.place)
