# mypy: disable-error-code=no-any-return
# Calling an nn.Module is typed Any.
"""The encoder: stages of residual blocks, each at a coarser resolution than the one before."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from seg.networks.block import ConvNormAct, ConvShape, ResidualBlock
from seg.networks.config import UNetConfig
from seg.networks.shortcut import BlockShape


class Encoder(nn.Module):
    """A stem at full resolution and stages of residual blocks."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        stem = ConvShape(
            config.in_channels, config.features[0], config.kernel_sizes[0], config.strides[0]
        )
        self.stem = ConvNormAct(config.layers, stem)
        rates = iter(drop_rates(config.stochastic_depth, sum(config.blocks)))
        self.stages = nn.ModuleList(
            Stage(config, index, [next(rates) for _ in range(blocks)])
            for index, blocks in enumerate(config.blocks)
        )

    def forward(self, x: Float[Tensor, "b c *spatial"]) -> list[Float[Tensor, "b _ *_"]]:
        """Return the features of every stage, finest first."""
        x = self.stem(x)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


class Stage(nn.Module):
    """Blocks at one resolution; the first takes the stride.

    A stage of preactivated blocks closes with the normalisation and activation that its last
    block does not have.
    """

    def __init__(self, config: UNetConfig, index: int, rates: Sequence[float]) -> None:
        super().__init__()
        kind = config.block_kind
        channels = config.features[max(index - 1, 0)]
        stride = config.strides[index]
        blocks = []
        plan = kind.shortcut.plan(config.features[index], len(rates))
        for (branch_channels, out_channels), rate in zip(plan, rates, strict=True):
            shape = BlockShape(
                in_channels=channels,
                branch_channels=branch_channels,
                out_channels=out_channels,
                kernel_size=config.kernel_sizes[index],
                stride=stride,
            )
            blocks.append(ResidualBlock(config.layers, shape, kind, drop_rate=rate))
            channels, stride = out_channels, (1,) * config.spatial_dims
        self.blocks = nn.Sequential(*blocks)
        self.close = (
            nn.Sequential(config.layers.norm(channels), config.layers.act())
            if kind.shortcut.preactivated
            else nn.Identity()
        )

    def forward(self, x: Float[Tensor, "b c_in *spatial"]) -> Float[Tensor, "b c_out *smaller"]:
        """Return features at the stage's resolution."""
        return self.close(self.blocks(x))


def drop_rates(last: float, blocks: int) -> Sequence[float]:
    """Rates that rise linearly from the first block to ``last`` at the last one.

    Source: Huang et al., Deep Networks with Stochastic Depth, ECCV 2016, eq. 4.
    """
    return [last * (index + 1) / blocks for index in range(blocks)]
