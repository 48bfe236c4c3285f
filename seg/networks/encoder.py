# mypy: disable-error-code="no-any-return, no-untyped-call"
# Calling an nn.Module is typed Any, and torch's checkpointing not at all.
"""The encoder: stages of residual blocks, each at a coarser resolution than the one before."""

import math
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint_sequential

from seg.networks.attention import AttentionBlock
from seg.networks.block import ConvNormAct, ConvShape, ResidualBlock, initialise
from seg.networks.config import UNetConfig
from seg.networks.shortcut import BlockShape
from seg.networks.stem import STEMS


class Encoder(nn.Module):
    """A stem, stages of residual blocks, and attention at the coarsest resolution."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.stem = _stem(config)
        rates = iter(drop_rates(config.stochastic_depth, sum(config.blocks)))
        self.stages = nn.ModuleList(
            Stage(config, index, [next(rates) for _ in range(blocks)])
            for index, blocks in enumerate(config.blocks)
        )
        self.attention = nn.Sequential(
            *(
                AttentionBlock(config.features[-1], config.stochastic_depth)
                for _ in range(config.attention_blocks)
            )
        )
        initialise(self)

    def forward(self, x: Float[Tensor, "b c *spatial"]) -> list[Float[Tensor, "b _ *_"]]:
        """Return the features of every stage, finest first."""
        x = self.stem(x)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        features[-1] = self.attention(x)
        return features


def _stem(config: UNetConfig) -> nn.Module:
    """Convolutions at the image's resolution, of which the first takes the first stride."""
    stem, width = STEMS[config.stem], config.features[0]
    kernel_size = stem.kernel(config.kernel_sizes[0])
    first = ConvNormAct(
        config.layers, ConvShape(config.in_channels, width, kernel_size, config.strides[0])
    )
    once = (1,) * config.spatial_dims
    others = [
        ConvNormAct(config.layers, ConvShape(width, width, kernel_size, once))
        for _ in range(stem.convs - 1)
    ]
    return nn.Sequential(first, *others) if others else first


class Stage(nn.Module):
    """Blocks at one resolution; the first takes the stride, or a max pool before it.

    A stage of preactivated blocks closes with the normalisation and activation that its last
    block does not have.
    """

    def __init__(self, config: UNetConfig, index: int, rates: Sequence[float]) -> None:
        super().__init__()
        layers, kind = config.layers, config.block_kind
        once = (1,) * config.spatial_dims
        channels = config.features[max(index - 1, 0)]
        # The stem takes the first stage's stride.
        stride = config.strides[index] if index > 0 else once
        self.pool: nn.Module = nn.Identity()
        if index == 1 and STEMS[config.stem].max_pool:
            self.pool, stride = layers.max_pool(stride), once
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
            blocks.append(ResidualBlock(layers, shape, kind, drop_rate=rate))
            channels, stride = out_channels, once
        self.blocks = nn.Sequential(*blocks)
        self.close = (
            nn.Sequential(layers.norm(channels), layers.act())
            if kind.shortcut.preactivated and blocks
            else nn.Identity()
        )
        self.checkpointed = config.checkpointed and len(blocks) > 1

    def forward(self, x: Float[Tensor, "b c_in *spatial"]) -> Float[Tensor, "b c_out *smaller"]:
        """Return features at the stage's resolution."""
        x = self.pool(x)
        if self.checkpointed and self.training:
            # Segments of the square root's length keep the fewest activations (Chen et al.,
            # Training Deep Nets with Sublinear Memory Cost, 2016).
            segments = math.isqrt(len(self.blocks))
            return self.close(checkpoint_sequential(self.blocks, segments, x, use_reentrant=False))
        return self.close(self.blocks(x))


def drop_rates(last: float, blocks: int) -> Sequence[float]:
    """Rates that rise linearly from the first block to ``last`` at the last one.

    Source: Huang et al., Deep Networks with Stochastic Depth, ECCV 2016, eq. 4.
    """
    return [last * (index + 1) / blocks for index in range(blocks)]
