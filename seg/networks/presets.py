"""Presets: layouts that have proved themselves, for any dimension and number of stages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from seg.errors import ConfigError
from seg.names import chosen
from seg.networks.config import UNetConfig
from seg.networks.foreign.config import ForeignConfig
from seg.networks.foreign.encoders import check_encoder, is_pretrained_name, stages_of
from seg.networks.foreign.names import (
    MONAI,
    OURS,
    check_name,
    has_2d_encoder,
    is_whole_network,
    our_parts,
    unknown_network,
)
from seg.networks.foreign.network import default_strides, multiple_of, strides_for
from seg.networks.layers import Axes


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """A layout before dimension, channels and number of stages are known.

    Where a planner asks for more stages than are listed, they repeat the last numbers.
    """

    features: Mapping[int, tuple[int, ...]]
    """Channels a stage, by number of spatial dimensions."""
    blocks: tuple[int, ...]
    """Blocks a stage."""
    patch: Mapping[int, Axes]
    """Voxels that the layout is meant for, by number of spatial dimensions."""
    gpu_memory_gb: int | None = None
    """Memory that a planner may fill with patch and batch."""
    first_stride: int = 1
    thin_decoder: bool = False
    """The decoder starts with 16 channels at the image's size and doubles up to 256."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Other fields of ``UNetConfig``."""


_IMAGENET = {"normalisation": "batch", "activation": "relu", "projection": "strided"}


def _resunet(edge_2d: int, edge_3d: int, gpu_memory_gb: int) -> Preset:
    """Isensee et al., nnU-Net Revisited, MICCAI 2024: the residual encoder presets.

    They differ in the memory that patch and batch may fill, not in the layout.
    """
    return Preset(
        features={2: (32, 64, 128, 256, 512, 512, 512), 3: (32, 64, 128, 256, 320, 320)},
        blocks=(1, 3, 4, 6, 6, 6, 6),
        patch={2: (edge_2d,) * 2, 3: (edge_3d,) * 3},
        gpu_memory_gb=gpu_memory_gb,
    )


def _resnet(blocks: tuple[int, ...], block: str = "basic") -> Preset:
    """He et al., Deep Residual Learning for Image Recognition, CVPR 2016, table 1."""
    width = {"basic": 64, "bottleneck": 256}[block]
    features = (64, *(width * 2**stage for stage in range(4)))
    return Preset(
        features={2: features, 3: features},
        blocks=(0, *blocks),
        patch={2: (256, 256), 3: (96, 96, 96)},
        first_stride=2,
        thin_decoder=True,
        options={**_IMAGENET, "stem": "resnet", "block": block},
    )


def _thousand_layers(blocks: int, features: tuple[int, ...], **options: Any) -> Preset:
    """Three stages of many thin blocks, for small images."""
    return Preset(
        features={2: features, 3: features},
        blocks=(blocks,) * 3,
        patch={2: (32, 32), 3: (16, 16, 16)},
        options={**_IMAGENET, **options},
    )


PRESETS: dict[str, Preset] = {
    # Trains to a useful model in minutes on a CPU.
    "resunet-s": Preset(
        features={2: (24, 48, 96, 192, 256), 3: (24, 48, 96, 192, 192)},
        blocks=(1, 2, 2, 2, 2),
        patch={2: (192, 192), 3: (64, 64, 64)},
    ),
    # A quarter of its operations, for networks that learn from a larger one (training.elastic).
    "resunet-xs": Preset(
        features={2: (16, 32, 64, 128, 160), 3: (16, 32, 64, 128, 160)},
        blocks=(0, 1, 1, 1, 1),
        patch={2: (192, 192), 3: (64, 64, 64)},
    ),
    # Transformer blocks where all voxels of the patch fit into a few hundred tokens.
    "resunet-s-attention": Preset(
        features={2: (24, 48, 96, 192, 256), 3: (24, 48, 96, 192, 192)},
        blocks=(1, 2, 2, 2, 2),
        patch={2: (192, 192), 3: (64, 64, 64)},
        options={"attention_blocks": 2},
    ),
    "resunet-m": _resunet(512, 128, gpu_memory_gb=8),
    "resunet-l": _resunet(832, 192, gpu_memory_gb=24),
    "resunet-xl": _resunet(1024, 224, gpu_memory_gb=40),
    "resnet18": _resnet((2, 2, 2, 2)),
    "resnet34": _resnet((3, 4, 6, 3)),
    "resnet50": _resnet((3, 4, 6, 3), "bottleneck"),
    "resnet101": _resnet((3, 4, 23, 3), "bottleneck"),
    "resnet152": _resnet((3, 8, 36, 3), "bottleneck"),
    # He et al., Identity Mappings in Deep Residual Networks, ECCV 2016, table 4.
    "preact-164": _thousand_layers(18, (64, 128, 256), shortcut="preact", block="bottleneck"),
    "preact-1001": _thousand_layers(
        111, (64, 128, 256), shortcut="preact", block="bottleneck", checkpointed=True
    ),
    # He et al., Deep Residual Learning for Image Recognition, CVPR 2016, table 6.
    "identity-1202": _thousand_layers(200, (16, 32, 64), checkpointed=True),
}
"""By the name that a plan and ``--network`` use."""


def preset(
    name: str,
    *,
    spatial_dims: int,
    in_channels: int,
    num_classes: int,
    strides: Sequence[Axes] | None = None,
    kernel_sizes: Sequence[Axes] | None = None,
) -> UNetConfig:
    """The configuration of a preset, or of this package's U-Net around a foreign encoder.

    Args:
        name: one of ``PRESETS``, ``smp:`` and an encoder of segmentation-models-pytorch, or
            ``tu-`` and an encoder of timm.
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        num_classes: classes with background.
        strides: one entry a stage, which also says how many stages there are; without it the
            preset's own number of stages, each halving every axis. A foreign encoder has its own.
        kernel_sizes: one entry a stage; 3 along every axis where not given.

    Raises:
        ConfigError: the name is not known, or the numbers do not go together.
    """
    if is_pretrained_name(name):
        if spatial_dims != 2:
            raise ConfigError(f"{name} is an encoder for 2D, got spatial_dims={spatial_dims}")
        config = _around(name, in_channels, num_classes)
        _check_same_size(config, strides)
        return config
    if name not in PRESETS:
        raise unknown_network(name, list(PRESETS))
    layout = PRESETS[name]
    if spatial_dims not in layout.features:
        raise ConfigError(f"spatial_dims is 2 or 3, got {spatial_dims}")
    stages = len(strides or layout.features[spatial_dims])
    if strides is None:
        strides = [(layout.first_stride,) * spatial_dims] + [(2,) * spatial_dims] * (stages - 1)
    config = UNetConfig(
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        num_classes=num_classes,
        features=_extended(layout.features[spatial_dims], stages),
        blocks=_extended(layout.blocks, stages),
        strides=tuple(tuple(axes) for axes in strides),
        kernel_sizes=tuple(tuple(axes) for axes in kernel_sizes or [(3,) * spatial_dims] * stages),
        **layout.options,
    )
    return _with_thin_decoder(config) if layout.thin_decoder else config


def network_config(
    name: str,
    *,
    spatial_dims: int,
    in_channels: int,
    num_classes: int,
    strides: Sequence[Axes] | None = None,
    kernel_sizes: Sequence[Axes] | None = None,
) -> UNetConfig | ForeignConfig:
    """The shape of any network that can be named, see docs/encoders.md.

    Args:
        name: a preset, ``smp:ARCHITECTURE/ENCODER``, ``tu-ENCODER``, ``seg:PRESET+ENCODER``,
            ``monai:NAME`` or ``package.module:function``.
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        num_classes: classes with background.
        strides: as ``preset`` takes them; found out for foreign networks where not given.
        kernel_sizes: as ``preset`` takes them.

    Raises:
        ConfigError: the name is not known, or the numbers do not go together.
    """
    if min(in_channels, num_classes) < 1:
        raise ConfigError(
            f"a network has a channel and a class at least, got {in_channels} and {num_classes}"
        )
    if has_2d_encoder(name) and spatial_dims != 2:
        raise ConfigError(
            f"{name} is an encoder for 2D images, these have 3 dimensions; take a preset such as "
            "resunet-s, or monai:segresnet"
        )
    check_name(name)
    check_encoder(name)
    if name.startswith(OURS):
        config = _on_encoder(*our_parts(name), in_channels, num_classes)
        _check_same_size(config, strides)
        return config
    if not is_whole_network(name):
        return preset(
            name,
            spatial_dims=spatial_dims,
            in_channels=in_channels,
            num_classes=num_classes,
            strides=strides,
            kernel_sizes=kernel_sizes,
        )
    foreign = ForeignConfig(
        name=name,
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        num_classes=num_classes,
        strides=tuple(tuple(axes) for axes in strides or default_strides(spatial_dims)),
        kernel_sizes=tuple(tuple(axes) for axes in kernel_sizes or ()),
    )
    if strides is None and not plans_its_stages(name):
        return replace(foreign, strides=strides_for(multiple_of(foreign), spatial_dims))
    return foreign


def plans_its_stages(name: str) -> bool:
    """Whether strides and kernels are chosen for the data; other foreign networks have theirs."""
    return name in PRESETS or name == f"{MONAI}dynunet"


def _on_encoder(name: str, encoder: str, in_channels: int, num_classes: int) -> UNetConfig:
    """A decoder of residual blocks like the preset's, on a foreign encoder."""
    layout = chosen(PRESETS, name, "preset")
    config = replace(
        _around(encoder, in_channels, num_classes),
        decoder="residual",
        normalisation="instance",
        activation="leaky_relu",
    )
    blocks = {k: v for k, v in layout.options.items() if k not in ("stem", "checkpointed")}
    return replace(config, **blocks)


def _around(name: str, in_channels: int, num_classes: int) -> UNetConfig:
    features, strides = stages_of(name, in_channels)
    config = UNetConfig(
        encoder=name,
        spatial_dims=2,
        in_channels=in_channels,
        num_classes=num_classes,
        features=features,
        blocks=(0,) * len(features),
        strides=strides,
        kernel_sizes=((3, 3),) * len(features),
        normalisation="batch",
        activation="relu",
    )
    return _with_thin_decoder(config)


def _check_same_size(config: UNetConfig, strides: Sequence[Axes] | None) -> None:
    """A plan's patch fits an encoder that divides it by the same number."""
    if strides is None:
        return
    planned = replace(
        config,
        features=(1,) * len(strides),
        blocks=(0,) * len(strides),
        strides=tuple(strides),
        kernel_sizes=((3, 3),) * len(strides),
        decoder_features=None,
    )
    if planned.total_stride != config.total_stride:
        raise ConfigError(
            f"{config.encoder} divides an image by {config.total_stride}, the strides asked for "
            f"by {planned.total_stride}; leave the strides out or plan for {config.strides}"
        )


def _with_thin_decoder(config: UNetConfig) -> UNetConfig:
    """16 channels at the image's size, doubling up to 256, as segmentation-models-pytorch has."""
    levels = len(config.level_features)
    return replace(config, decoder_features=tuple(min(16 * 2**i, 256) for i in range(levels)))


def _extended(numbers: tuple[int, ...], stages: int) -> tuple[int, ...]:
    return tuple(numbers[min(stage, len(numbers) - 1)] for stage in range(stages))
