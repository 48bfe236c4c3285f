# mypy: disable-error-code=no-any-return
# Calling an nn.Module is typed Any.
"""The residual U-Net.

Letters: ``b`` batch, ``c`` channels, ``k`` classes.
"""

from jaxtyping import Float
from torch import Tensor, nn

from seg.errors import ConfigError
from seg.networks.block import initialise
from seg.networks.config import RESIDUAL, UNetConfig
from seg.networks.decoder import Decoder
from seg.networks.encoder import Encoder
from seg.networks.foreign.config import ForeignConfig
from seg.networks.foreign.encoders import PretrainedEncoder
from seg.networks.foreign.network import ForeignNetwork
from seg.networks.network import SegmentationNetwork


class ResidualUNet(SegmentationNetwork):
    """A residual encoder, a decoder with skips between them, and 1x1 heads.

    Source: Ronneberger et al., U-Net, MICCAI 2015; the layout of encoder and decoder after
    Isensee et al., nnU-Net Revisited, MICCAI 2024.
    """

    config: UNetConfig

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder: nn.Module = (
            Encoder(config) if config.encoder == RESIDUAL else PretrainedEncoder(config)
        )
        self.decoder = Decoder(config)
        # nnU-Net gives the coarsest head the weight 0, so it is not built; its weights would
        # never see a gradient.
        supervised = max(1, len(self.decoder.levels) - 1) if config.deep_supervision else 1
        self.heads = nn.ModuleList(
            config.layers.pointwise(width, config.num_classes, bias=True)
            for width in self.decoder.out_channels[:supervised]
        )
        initialise(self.heads)

    @property
    def encoder_module(self) -> nn.Module | None:
        """The part that may have been trained elsewhere."""
        return self.encoder.model if isinstance(self.encoder, PretrainedEncoder) else None

    def forward(
        self, x: Float[Tensor, "b c *spatial"]
    ) -> Float[Tensor, "b k *spatial"] | list[Float[Tensor, "b k *_"]]:
        """Return logits; in training mode with deep supervision one a level, finest first.

        Raises:
            ConfigError: a size is no multiple of ``config.total_stride``.
        """
        self._check_size(tuple(x.shape[2:]))
        levels = self.decoder(self.encoder(x))
        if self.training and self.config.deep_supervision:
            return [head(level) for head, level in zip(self.heads, levels, strict=False)]
        return self.heads[0](levels[0])

    def _check_size(self, size: tuple[int, ...]) -> None:
        stride = self.config.total_stride
        if len(size) != len(stride) or any(n % s for n, s in zip(size, stride, strict=True)):
            raise ConfigError(
                f"spatial sizes must be multiples of {stride}, got {size}; pad the input"
            )


def make_network(config: UNetConfig | ForeignConfig) -> SegmentationNetwork:
    """The network of that shape, whoever wrote it.

    Raises:
        ConfigError: it cannot be built.
    """
    return ResidualUNet(config) if isinstance(config, UNetConfig) else ForeignNetwork(config)
