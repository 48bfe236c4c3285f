"""A network that is not made of this package's own blocks, as plain data."""

import math
from dataclasses import dataclass

from seg.networks.layers import Axes


@dataclass(frozen=True, kw_only=True, slots=True)
class ForeignConfig:
    """All that is needed to build a network of another library again."""

    name: str
    """``smp:unet/resnet34``, ``monai:segresnet`` or ``package.module:function``."""
    spatial_dims: int
    in_channels: int
    num_classes: int
    strides: tuple[Axes, ...]
    """Their product is what the sizes of an input must be multiples of. ``monai:dynunet`` has one
    entry a stage, of others they are found out (``multiple_of``)."""
    kernel_sizes: tuple[Axes, ...] = ()
    """One entry a stage, for ``monai:dynunet``."""

    @property
    def total_stride(self) -> Axes:
        """What the sizes of an input must be multiples of."""
        return tuple(math.prod(axis) for axis in zip(*self.strides, strict=True))
