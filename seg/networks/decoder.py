# mypy: disable-error-code=no-any-return
# Calling an nn.Module is typed Any.
"""The decoder: from the coarsest features back to full resolution, level by level."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seg.networks.config import UNetConfig
from seg.networks.fusion import FUSIONS
from seg.networks.shortcut import BlockShape


class Decoder(nn.Module):
    """Levels that upsample, take the encoder's features beside their own, and fuse both."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            Level(config, index) for index in reversed(range(len(config.features) - 1))
        )

    def forward(self, features: Sequence[Float[Tensor, "b _ *_"]]) -> list[Float[Tensor, "b _ *_"]]:
        """Return the features of every level, finest first.

        Args:
            features: the encoder's, finest first.
        """
        *skips, x = features
        decoded = []
        for level, skip in zip(self.levels, reversed(skips), strict=True):
            x = level(x, skip)
            decoded.append(x)
        return decoded[::-1]


class Level(nn.Module):
    """Upsample to the skip's resolution, join, fuse."""

    def __init__(self, config: UNetConfig, index: int) -> None:
        super().__init__()
        channels = config.features[index]
        self.upsample = config.layers.upsample(
            config.features[index + 1], channels, config.strides[index + 1]
        )
        shape = BlockShape(
            in_channels=2 * channels,
            branch_channels=channels,
            out_channels=channels,
            kernel_size=config.kernel_sizes[index],
            stride=(1,) * config.spatial_dims,
        )
        self.fuse = FUSIONS[config.decoder](config.layers, shape, config.block_kind)

    def forward(
        self, x: Float[Tensor, "b c_coarse *smaller"], skip: Float[Tensor, "b c *spatial"]
    ) -> Float[Tensor, "b c *spatial"]:
        """Return features at the skip's resolution."""
        return self.fuse(torch.cat((self.upsample(x), skip), dim=1))
