"""An image that is read part by part. Letters: ``c`` channels."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Real

from seg.images.grid.image import Affine, Spacing


@runtime_checkable
class ImageSource(Protocol):
    """What an ``Image`` is, but its pixels may lie in a file. An ``Image`` is one."""

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Size along the spatial axes."""
        ...

    @property
    def channels(self) -> int:
        """Number of channels."""
        ...

    @property
    def spacing(self) -> Spacing | None:
        """Distance of neighbouring voxels in mm; None where the file says nothing."""
        ...

    @property
    def affine(self) -> Affine | None:
        """Maps voxel indices to RAS+ world mm, as that of an ``Image`` does."""
        ...

    @property
    def unit(self) -> str:
        """Of length in the file, as that of an ``Image``."""
        ...

    @property
    def nifti(self) -> bytes | None:
        """The header's bytes of the NIfTI file, as that of an ``Image``."""
        ...

    @property
    def reduction(self) -> tuple[float, ...] | None:
        """Pixels of the file for each of these, as that of an ``Image``."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What its reader has to say of it, as those of an ``Image``."""
        ...

    def read(self, region: tuple[slice, ...]) -> Real[np.ndarray, "c *region"]:
        """The intensities of a region: one slice a spatial axis, each with start and stop.

        Raises:
            ImageError: the file is damaged there.
        """
        ...
