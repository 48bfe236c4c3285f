"""Presets: layouts that have proved themselves, for any dimension and number of stages."""

from collections.abc import Sequence
from dataclasses import dataclass

from seg.errors import ConfigError
from seg.networks.config import UNetConfig
from seg.networks.layers import Axes, chosen


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """A layout before dimension, channels and number of stages are known."""

    features: int
    """Channels of the first stage; each further stage doubles them."""
    most_features: dict[int, int]
    """Where the doubling ends, by number of spatial dimensions."""
    blocks: tuple[int, ...]
    """Blocks a stage; further stages repeat the last number."""
    stages: int
    """Number of stages where no planner says otherwise."""


PRESETS: dict[str, Preset] = {
    # Trains to a useful model in minutes on a CPU.
    "resunet-s": Preset(
        features=24, most_features={2: 256, 3: 192}, blocks=(1, 2, 2, 2, 2), stages=5
    ),
    # Isensee et al., nnU-Net Revisited, MICCAI 2024: the residual encoder presets.
    "resunet-m": Preset(
        features=32, most_features={2: 512, 3: 320}, blocks=(1, 3, 4, 6, 6, 6), stages=6
    ),
}


def preset(
    name: str,
    *,
    spatial_dims: int,
    in_channels: int,
    num_classes: int,
    strides: Sequence[Axes] | None = None,
    kernel_sizes: Sequence[Axes] | None = None,
) -> UNetConfig:
    """The configuration of a preset.

    Args:
        name: one of ``PRESETS``.
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        num_classes: classes with background.
        strides: one entry a stage, which also says how many stages there are; without it the
            preset's own number of stages, each halving every axis but the first.
        kernel_sizes: one entry a stage; 3 along every axis where not given.

    Raises:
        ConfigError: the name is not known, or the numbers do not go together.
    """
    layout = chosen(PRESETS, name, "preset")
    if spatial_dims not in layout.most_features:
        raise ConfigError(f"spatial_dims is 2 or 3, got {spatial_dims}")
    if strides is None:
        strides = [(1,) * spatial_dims] + [(2,) * spatial_dims] * (layout.stages - 1)
    if kernel_sizes is None:
        kernel_sizes = [(3,) * spatial_dims] * len(strides)
    most = layout.most_features[spatial_dims]
    last = len(layout.blocks) - 1
    return UNetConfig(
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        num_classes=num_classes,
        features=tuple(min(layout.features * 2**stage, most) for stage in range(len(strides))),
        blocks=tuple(layout.blocks[min(stage, last)] for stage in range(len(strides))),
        strides=tuple(tuple(axes) for axes in strides),
        kernel_sizes=tuple(tuple(axes) for axes in kernel_sizes),
    )
