# mypy: disable-error-code=no-any-return
# Calling an nn.Module is typed Any.
"""The decoder: from the coarsest features back to full resolution, level by level."""

from collections.abc import Sequence
from copy import deepcopy

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seg.networks.block import initialise
from seg.networks.config import UNetConfig
from seg.networks.fusion import FUSIONS
from seg.networks.shortcut import BlockShape


class Decoder(nn.Module):
    """Levels that upsample, take the encoder's features beside their own, and fuse both.

    Where the encoder's finest features are coarser than the image, a last level without skip
    leads to the image's size.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        skip_widths = config.level_features[1 if config.starts_strided else 0 :]
        channels = config.features[-1]
        self.levels = nn.ModuleList()
        for index in reversed(range(len(skip_widths))):
            self.levels.append(Level(config, index, channels, skip_widths[index]))
            channels = skip_widths[index]
        self.finish = (
            nn.Sequential(
                config.layers.upsample(channels, config.level_features[0], config.strides[0]),
                _fusion(config, 0, config.level_features[0], config.level_features[0]),
            )
            if config.starts_strided
            else nn.Identity()
        )
        self.out_channels = (config.level_features[0], *skip_widths[1:])
        initialise(self)

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
        decoded[-1] = self.finish(x)
        return decoded[::-1]


class Level(nn.Module):
    """Upsample to the skip's resolution, join, fuse."""

    def __init__(self, config: UNetConfig, index: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.upsample = config.layers.upsample(in_channels, out_channels, config.strides[index + 1])
        self.fuse = _fusion(config, index, out_channels + config.features[index], out_channels)
        self.gate = SkipGate() if config.gated_skips else nn.Identity()

    def forward(
        self, x: Float[Tensor, "b c_coarse *smaller"], skip: Float[Tensor, "b c_skip *spatial"]
    ) -> Float[Tensor, "b c *spatial"]:
        """Return features at the skip's resolution."""
        return self.fuse(torch.cat((self.upsample(x), self.gate(skip)), dim=1))

    def without_skip(self) -> "SkiplessLevel":
        """What the level does when the skip is 0: a convolution of fewer channels."""
        fuse = deepcopy(self.fuse)
        conv = fuse.get_submodule("conv")
        width = conv.get_parameter("weight").shape[0]
        conv.weight = nn.Parameter(conv.get_parameter("weight")[:, :width].detach().clone())
        conv.in_channels = width  # type: ignore[assignment]
        return SkiplessLevel(self.upsample, fuse)


class SkipGate(nn.Module):
    """g·skip, g one learned number that starts at 1: the U-Net as it is drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.ones(1))

    def forward(
        self, skip: Float[Tensor, "b c_skip *spatial"]
    ) -> Float[Tensor, "b c_skip *spatial"]:
        """Return the scaled features of the encoder."""
        return self.gate * skip


class SkiplessLevel(nn.Module):
    """A level whose gate has closed: upsample and fuse."""

    def __init__(self, upsample: nn.Module, fuse: nn.Module) -> None:
        super().__init__()
        self.upsample = upsample
        self.fuse = fuse

    def forward(
        self, x: Float[Tensor, "b c_coarse *smaller"], skip: Float[Tensor, "b c_skip *spatial"]
    ) -> Float[Tensor, "b c *spatial"]:
        """Return features at the skip's resolution; nothing of the skip itself is used."""
        return self.fuse(self.upsample(x))


def _fusion(config: UNetConfig, stage: int, in_channels: int, out_channels: int) -> nn.Module:
    ((branch_channels, _),) = config.block_kind.shortcut.plan(out_channels, 1)
    shape = BlockShape(
        in_channels=in_channels,
        branch_channels=branch_channels,
        out_channels=out_channels,
        kernel_size=config.kernel_sizes[stage],
        stride=(1,) * config.spatial_dims,
    )
    return FUSIONS[config.decoder](config.layers, shape, config.block_kind)
