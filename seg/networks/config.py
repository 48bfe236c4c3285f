"""The shape of a residual U-Net as plain data."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from seg.errors import ConfigError
from seg.names import chosen
from seg.networks.block import BLOCKS, BlockKind
from seg.networks.fusion import FUSIONS
from seg.networks.layers import ACTIVATIONS, CONV, NORMALISATIONS, PROJECTIONS, Axes, Layers
from seg.networks.shortcut import SHORTCUTS
from seg.networks.stem import STEMS

RESIDUAL = "residual"
"""The encoder that is made of this package's own blocks."""

_CHOICES: Mapping[str, Mapping[str, Any]] = {
    "block": BLOCKS,
    "shortcut": SHORTCUTS,
    "normalisation": NORMALISATIONS,
    "activation": ACTIVATIONS,
    "projection": PROJECTIONS,
    "stem": STEMS,
    "decoder": FUSIONS,
}


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
    """Blocks a stage. The first stage may have none; then it is the stem alone."""
    strides: tuple[Axes, ...]
    """What each stage divides the size by, one number an axis."""
    kernel_sizes: tuple[Axes, ...]
    """Odd; 1 along an axis whose voxels are much longer than the others."""
    block: str = "basic"
    shortcut: str = "identity"
    normalisation: str = "instance"
    activation: str = "leaky_relu"
    projection: str = "pooled"
    """What a shortcut does where shapes change: ``pooled`` or ``strided``."""
    stem: str = "conv"
    """``conv``: one convolution; ``double``: two; ``resnet``: a wide one, and the second stage
    starts with a max pool."""
    squeeze_excitation: bool = False
    stochastic_depth: float = 0.0
    """Rate at which the last encoder block is dropped while training; earlier ones less."""
    attention_blocks: int = 0
    """Attention blocks after the coarsest stage."""
    checkpointed: bool = False
    """Compute activations of the encoder again for the gradient instead of keeping them."""
    decoder: str = "light"
    """``light``: one convolution a level; ``residual``: one block a level."""
    decoder_features: tuple[int, ...] | None = None
    """Channels of each level, finest first; as many as the encoder has there if not given."""
    gated_skips: bool = False
    """Scale what the encoder hands to each level of the decoder by a learned number: one that
    ends at 0 can be removed (``ResidualUNet.without``). For the light decoder."""
    deep_supervision: bool = False
    """In training mode, logits at every level of the decoder but the coarsest."""
    encoder: str = RESIDUAL
    """``residual``, or an encoder of segmentation-models-pytorch (``smp:resnet34``) or of timm
    (``tu-convnext_tiny``), whose features and strides ``preset`` finds out."""
    weights: str | None = None
    """Of such an encoder: a name on the hub (``imagenet``) or a path to a safetensors file."""

    def __post_init__(self) -> None:
        for field, table in _CHOICES.items():
            chosen(table, getattr(self, field), field)
        self._check_counts()
        self._check_axes()
        self._check_levels()
        self._check_skips()
        self._check_shortcut()
        self._check_encoder()

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
        least = {"in_channels": 1, "num_classes": 1, "attention_blocks": 0}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ConfigError(f"{name} must be {bound} or more, got {getattr(self, name)}")
        if min(self.features) < 1:
            raise ConfigError(f"features must be 1 or more a stage, got {self.features}")

    def _check_levels(self) -> None:
        levels = len(self.features) - 1 + self.starts_strided
        if self.decoder_features is not None and len(self.decoder_features) != levels:
            raise ConfigError(
                f"decoder_features needs {levels} numbers, one a level, got {self.decoder_features}"
            )

    def _check_skips(self) -> None:
        # a block that normalises first would make something of a skip of zeros
        if self.gated_skips and self.decoder != "light":
            raise ConfigError(f"gated skips need the light decoder, got {self.decoder!r}")

    def _check_axes(self) -> None:
        for name in ("strides", "kernel_sizes"):
            for axes in getattr(self, name):
                if len(axes) != self.spatial_dims or min(axes) < 1:
                    raise ConfigError(
                        f"{name} need {self.spatial_dims} numbers of 1 or more a stage, got {axes}"
                    )
        if any(k % 2 == 0 for axes in self.kernel_sizes for k in axes):
            raise ConfigError(f"kernel sizes must be odd, got {self.kernel_sizes}")

    def _check_shortcut(self) -> None:
        shortcut = SHORTCUTS[self.shortcut]
        if not 0 <= self.stochastic_depth < 1:
            raise ConfigError(f"stochastic_depth is a rate in [0, 1), got {self.stochastic_depth}")
        if self.stochastic_depth and not shortcut.additive:
            raise ConfigError(
                f"stochastic depth needs a shortcut that adds, {self.shortcut!r} does not; "
                "set stochastic_depth=0 or shortcut='identity'"
            )
        for features, blocks in zip(self.features, self.blocks, strict=True):
            shortcut.plan(features, blocks)

    def _check_encoder(self) -> None:
        if self.encoder == RESIDUAL:
            if min(self.blocks[1:]) < 1 or self.blocks[0] < 0:
                raise ConfigError(f"blocks must be 1 or more a stage, got {self.blocks}")
            if self.weights is not None:
                raise ConfigError(
                    f"weights={self.weights!r} need an encoder that was trained, such as "
                    "encoder='smp:resnet34'; the residual encoder starts from random weights"
                )
        elif self.spatial_dims != 2:
            raise ConfigError(f"{self.encoder} is an encoder for 2D, got spatial_dims=3")
        elif self.stochastic_depth:
            raise ConfigError(
                f"stochastic depth drops blocks of the residual encoder, {self.encoder} has none; "
                "set stochastic_depth=0 or take a preset such as resunet-s"
            )
        elif self.attention_blocks:
            raise ConfigError(
                f"attention follows the last stage of the residual encoder, not {self.encoder}; "
                "leave it out or take a preset such as resunet-s"
            )

    @property
    def layers(self) -> Layers:
        """Makes the layers of this network."""
        return Layers(
            spatial_dims=self.spatial_dims,
            normalisation=self.normalisation,
            activation=self.activation,
            projections=self.projection,
        )

    @property
    def block_kind(self) -> BlockKind:
        """What the blocks of this network have in common."""
        return BlockKind(SHORTCUTS[self.shortcut], BLOCKS[self.block], self.squeeze_excitation)

    @property
    def total_stride(self) -> Axes:
        """What the sizes of an input must be multiples of."""
        return tuple(math.prod(axis) for axis in zip(*self.strides, strict=True))

    @property
    def level_features(self) -> tuple[int, ...]:
        """Channels of each level of the decoder, finest first."""
        if self.decoder_features is not None:
            return self.decoder_features
        finish = self.features[:1] if self.starts_strided else ()
        return (*finish, *self.features[:-1])

    @property
    def starts_strided(self) -> bool:
        """Whether the encoder's finest features are coarser than the image."""
        return max(self.strides[0]) > 1
