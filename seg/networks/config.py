"""The shape of a residual U-Net as plain data."""

import math
from dataclasses import dataclass

from seg.errors import ConfigError
from seg.networks.block import BLOCKS, BlockKind
from seg.networks.fusion import FUSIONS
from seg.networks.layers import ACTIVATIONS, CONV, NORMALISATIONS, Axes, Layers, chosen
from seg.networks.shortcut import SHORTCUTS


@dataclass(frozen=True, kw_only=True, slots=True)
class UNetConfig:
    """Shape of a residual U-Net, one entry a stage, finest first.

    ``preset("resunet-s", spatial_dims=2, in_channels=1, num_classes=3)`` makes one, and
    ``dataclasses.replace(config, shortcut="gated")`` a variant of it.
    """

    spatial_dims: int
    in_channels: int
    num_classes: int
    features: tuple[int, ...]
    blocks: tuple[int, ...]
    strides: tuple[Axes, ...]
    """What each stage divides the size by, one number an axis; the first stage keeps it."""
    kernel_sizes: tuple[Axes, ...]
    """Odd; 1 along an axis whose voxels are much longer than the others."""
    block: str = "basic"
    shortcut: str = "identity"
    normalisation: str = "instance"
    activation: str = "leaky_relu"
    stochastic_depth: float = 0.0
    """Rate at which the last encoder block is dropped while training; earlier ones less."""
    decoder: str = "light"
    """``light``: one convolution a level; ``residual``: one block a level."""
    deep_supervision: bool = False
    """In training mode, logits at every level of the decoder but the coarsest."""

    def __post_init__(self) -> None:
        chosen(BLOCKS, self.block, "block")
        shortcut = chosen(SHORTCUTS, self.shortcut, "shortcut")
        chosen(NORMALISATIONS, self.normalisation, "normalisation")
        chosen(ACTIVATIONS, self.activation, "activation")
        chosen(FUSIONS, self.decoder, "decoder")
        self._check_counts()
        self._check_axes()
        if not 0 <= self.stochastic_depth < 1:
            raise ConfigError(f"stochastic_depth is a rate in [0, 1), got {self.stochastic_depth}")
        if self.stochastic_depth and not shortcut.additive:
            raise ConfigError(
                f"stochastic depth needs a shortcut that adds, {self.shortcut!r} does not; "
                "set stochastic_depth=0 or shortcut='identity'"
            )

    def _check_counts(self) -> None:
        if self.spatial_dims not in CONV:
            raise ConfigError(f"spatial_dims is 2 or 3, got {self.spatial_dims}")
        per_stage = {
            name: len(getattr(self, name))
            for name in ("features", "blocks", "strides", "kernel_sizes")
        }
        if len(set(per_stage.values())) != 1 or len(self.features) < 2:
            raise ConfigError(
                f"a network needs two stages or more and one entry a stage, got {per_stage}"
            )
        for name in ("in_channels", "num_classes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be 1 or more, got {getattr(self, name)}")
        for name in ("features", "blocks"):
            if min(getattr(self, name)) < 1:
                raise ConfigError(f"{name} must be 1 or more a stage, got {getattr(self, name)}")

    def _check_axes(self) -> None:
        for name in ("strides", "kernel_sizes"):
            for axes in getattr(self, name):
                if len(axes) != self.spatial_dims or min(axes) < 1:
                    raise ConfigError(
                        f"{name} need {self.spatial_dims} numbers of 1 or more a stage, got {axes}"
                    )
        if max(self.strides[0]) > 1:
            raise ConfigError(f"the first stage keeps the size, got the stride {self.strides[0]}")
        if any(k % 2 == 0 for axes in self.kernel_sizes for k in axes):
            raise ConfigError(f"kernel sizes must be odd, got {self.kernel_sizes}")

    @property
    def layers(self) -> Layers:
        """Makes the layers of this network."""
        return Layers(
            spatial_dims=self.spatial_dims,
            normalisation=self.normalisation,
            activation=self.activation,
        )

    @property
    def block_kind(self) -> BlockKind:
        """What the blocks of this network have in common."""
        return BlockKind(SHORTCUTS[self.shortcut], BLOCKS[self.block])

    @property
    def total_stride(self) -> Axes:
        """What the sizes of an input must be multiples of."""
        return tuple(math.prod(axis) for axis in zip(*self.strides, strict=True))
