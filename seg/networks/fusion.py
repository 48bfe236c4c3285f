"""What makes one of upsampled features and the encoder's, at a level of the decoder."""

from collections.abc import Callable

from torch import nn

from seg.networks.block import BlockKind, ConvNormAct, ConvShape, ResidualBlock
from seg.networks.layers import Layers
from seg.networks.shortcut import BlockShape


def light(layers: Layers, shape: BlockShape, kind: BlockKind) -> nn.Module:
    """One convolution: the compute lies in the encoder, as in nnU-Net's residual presets."""
    conv = ConvShape(shape.in_channels, shape.out_channels, shape.kernel_size, shape.stride)
    return ConvNormAct(layers, conv)


def residual(layers: Layers, shape: BlockShape, kind: BlockKind) -> nn.Module:
    """One block of the encoder's kind."""
    return ResidualBlock(layers, shape, kind)


FUSIONS: dict[str, Callable[[Layers, BlockShape, BlockKind], nn.Module]] = {
    "light": light,
    "residual": residual,
}
