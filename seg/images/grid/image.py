"""``Image`` and ``Mask``: the only two types that travel between rooms.

Axis order is ``(c, z, y, x)``, without z in 2D. Letters: ``c`` channels.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Integer, Real

from seg.errors import ImageError

Spacing = tuple[float, ...]
"""Millimetres a voxel, one number a spatial axis, in the order of the array: (z, y, x)."""
Affine = Float[np.ndarray, "4 4"]
"""From voxel indices (x, y, z) to RAS+ millimetres, as NIfTI has it."""


@dataclass(frozen=True, eq=False)
class _Grid:
    """Where an array lies in the world."""

    array: np.ndarray
    spacing: Spacing | None = None
    """Distance of neighbouring voxels in mm, one number a spatial axis; None where the file
    says nothing, as most PNG files do."""
    affine: Affine | None = None
    """Maps voxel indices ``(x, y, z, 1)``, the array's axes in reverse, to RAS+ world mm."""

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Size along the spatial axes."""
        raise NotImplementedError

    @property
    def dims(self) -> int:
        """2 or 3."""
        return len(self.spatial_shape)

    def _check(self) -> None:
        if self.dims not in (2, 3) or 0 in self.array.shape:
            raise ImageError(
                f"an image has 2 or 3 spatial axes and no empty one, got {self.spatial_shape}"
            )
        if self.spacing is not None:
            if len(self.spacing) != self.dims:
                raise ImageError(
                    f"spacing needs {self.dims} numbers, one a spatial axis, got {self.spacing}"
                )
            if not all(np.isfinite(mm) and mm > 0 for mm in self.spacing):
                raise ImageError(f"spacing must be above 0 mm and finite, got {self.spacing}")
        if self.affine is not None and not np.isfinite(self.affine).all():
            raise ImageError("the affine holds NaN or infinite numbers; repair the file's header")


@dataclass(frozen=True, eq=False)
class Image(_Grid):
    """Channels over a 2D or 3D grid: array ``(c, *spatial)`` in the file's own dtype."""

    array: Real[np.ndarray, "c *spatial"]
    headers: tuple[Any, ...] = ()
    """pydicom Datasets without pixel data, where the image comes from DICOM: one a slice in the
    order of the array's first spatial axis, or a single one for a 2D image or a multi-frame file.
    A DICOM SEG or RTSTRUCT refers to its source by them."""

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

    @classmethod
    def on_grid_of(cls, image: Image, labels: Integer[np.ndarray, "*spatial"]) -> "Mask":
        """A mask that lies exactly where the image lies."""
        if labels.shape != image.spatial_shape:
            raise ImageError(
                f"a mask of {labels.shape} does not lie on an image of {image.spatial_shape}"
            )
        return cls(labels, spacing=image.spacing, affine=image.affine)
