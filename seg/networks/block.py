# mypy: disable-error-code=no-any-return
# Calling an nn.Module is typed Any.
"""Residual blocks: a branch of convolutions and the shortcut around it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seg.networks.layers import Axes, Layers
from seg.networks.shortcut import Additive, BlockShape, Shortcut


class ConvNormAct(nn.Sequential):
    """Convolution, normalisation, activation; without the activation at the end of a branch."""

    def __init__(self, layers: Layers, conv: "ConvShape", *, act: bool = True) -> None:
        super().__init__()
        self.conv = layers.conv(conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride)
        self.norm = layers.norm(conv.out_channels)
        if act:
            self.act = layers.act()


class NormActConv(nn.Sequential):
    """Normalisation, activation, convolution.

    Source: He et al., Identity Mappings in Deep Residual Networks, ECCV 2016.
    """

    def __init__(self, layers: Layers, conv: "ConvShape") -> None:
        super().__init__()
        self.norm = layers.norm(conv.in_channels)
        self.act = layers.act()
        self.conv = layers.conv(conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride)


@dataclass(frozen=True, slots=True)
class ConvShape:
    """Channels, kernel and stride of one convolution."""

    in_channels: int
    out_channels: int
    kernel_size: Axes
    stride: Axes


def basic_convs(shape: BlockShape) -> Sequence[ConvShape]:
    """Two convolutions, the first with the stride.

    Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, fig. 5 left.
    """
    once = (1,) * len(shape.stride)
    width = shape.branch_channels
    return (
        ConvShape(shape.in_channels, width, shape.kernel_size, shape.stride),
        ConvShape(width, width, shape.kernel_size, once),
    )


def bottleneck_convs(shape: BlockShape) -> Sequence[ConvShape]:
    """Narrow to a quarter, convolve with the stride, widen.

    Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, fig. 5 right, with
    the stride in the middle as in Bag of Tricks (CVPR 2019), fig. 2b.
    """
    once = (1,) * len(shape.stride)
    width = max(1, shape.branch_channels // 4)
    return (
        ConvShape(shape.in_channels, width, once, once),
        ConvShape(width, width, shape.kernel_size, shape.stride),
        ConvShape(width, shape.branch_channels, once, once),
    )


def densenet_convs(shape: BlockShape) -> Sequence[ConvShape]:
    """Widen to four times what the block adds, then convolve with the stride.

    Source: Huang et al., Densely Connected Convolutional Networks, CVPR 2017 (DenseNet-B).
    """
    once = (1,) * len(shape.stride)
    width = 4 * shape.branch_channels
    return (
        ConvShape(shape.in_channels, width, once, once),
        ConvShape(width, shape.branch_channels, shape.kernel_size, shape.stride),
    )


BLOCKS: dict[str, Callable[[BlockShape], Sequence[ConvShape]]] = {
    "basic": basic_convs,
    "bottleneck": bottleneck_convs,
    "densenet": densenet_convs,
}


@dataclass(frozen=True, slots=True)
class BlockKind:
    """What the blocks of one network have in common."""

    shortcut: type[Shortcut]
    convs: Callable[[BlockShape], Sequence[ConvShape]]
    squeeze_excitation: bool = False


class StochasticDepth(nn.Module):
    """Drops the branch of a random part of the batch while training, and scales up the others.

    Source: Huang et al., Deep Networks with Stochastic Depth, ECCV 2016.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, fx: Float[Tensor, "b *shape"]) -> Float[Tensor, "b *shape"]:
        """Return ``fx`` with some of its samples set to 0."""
        if not self.training or self.rate == 0:
            return fx
        keep = 1 - self.rate
        mask = torch.rand(len(fx), *[1] * (fx.ndim - 1), device=fx.device) < keep
        return fx * (mask / keep).to(fx.dtype)


class SqueezeExcitation(nn.Module):
    """Scales each channel by a number that the means of all channels decide.

    Source: Hu et al., Squeeze-and-Excitation Networks, CVPR 2018, fig. 2, with their ratio 16.
    """

    def __init__(self, layers: Layers, channels: int) -> None:
        super().__init__()
        self.axes = tuple(range(2, 2 + layers.spatial_dims))
        width = max(4, channels // 16)
        self.squeeze = layers.pointwise(channels, width, bias=True)
        self.act = nn.ReLU()
        self.excite = layers.pointwise(width, channels, bias=True)

    def forward(self, x: Float[Tensor, "b c *spatial"]) -> Float[Tensor, "b c *spatial"]:
        """Return scaled features."""
        means = x.mean(self.axes, keepdim=True)
        return x * torch.sigmoid(self.excite(self.act(self.squeeze(means))))


class Droppable(nn.Module):
    """Something that adds what its ``branch`` makes, and can go without it."""

    branch: nn.Module

    @property
    def is_droppable(self) -> bool:
        """Input and output have the same shape and meaning."""
        raise NotImplementedError

    @property
    def has_droppable_branch(self) -> bool:
        """The block works without what its branch adds, though it may change the shape."""
        return self.is_droppable

    def start(self) -> None:
        """Set the weights that start at a special value, after all others are drawn."""
        raise NotImplementedError

    def without_branch(self) -> nn.Module:
        """What the block does when F(x) is 0."""
        raise NotImplementedError


class ResidualBlock(Droppable):
    """A branch F of convolutions and a shortcut that joins x and F(x)."""

    def __init__(
        self, layers: Layers, shape: BlockShape, kind: BlockKind, drop_rate: float = 0.0
    ) -> None:
        super().__init__()
        self.shape = shape
        *first, last = kind.convs(shape)
        self.branch = nn.Sequential(
            *(NormActConv(layers, conv) for conv in (*first, last))
            if kind.shortcut.preactivated
            else (*(ConvNormAct(layers, c) for c in first), ConvNormAct(layers, last, act=False))
        )
        self.excite = (
            SqueezeExcitation(layers, shape.branch_channels)
            if kind.squeeze_excitation
            else nn.Identity()
        )
        self.drop = StochasticDepth(drop_rate) if drop_rate else nn.Identity()
        self.shortcut = kind.shortcut(layers, shape)

    @property
    def is_droppable(self) -> bool:
        """The shortcut adds and the shape is kept."""
        return self.shortcut.additive and self.shape.is_kept

    @property
    def has_droppable_branch(self) -> bool:
        """The shortcut adds."""
        return self.shortcut.additive

    def start(self) -> None:
        """Set the weights that start at a special value, after all others are drawn."""
        *_, end_of_branch = self.branch.modules()
        self.shortcut.start(end_of_branch)

    def without_branch(self) -> nn.Module:
        """What the block does when F(x) is 0."""
        assert isinstance(self.shortcut, Additive)
        return Carried(self.shortcut.without_branch())

    def forward(self, x: Float[Tensor, "b c_in *spatial"]) -> Float[Tensor, "b c_out *smaller"]:
        """Return features at ``1 / stride`` of the input size."""
        return self.shortcut(x, self.drop(self.excite(self.branch(x))))


class Carried(nn.Module):
    """A residual block that has lost its branch."""

    def __init__(self, shortcut: nn.Module) -> None:
        super().__init__()
        self.shortcut = shortcut

    def forward(self, x: Float[Tensor, "b c_in *spatial"]) -> Float[Tensor, "b c_out *smaller"]:
        """Return what leads around the branch."""
        return self.shortcut(x)


def initialise(network: nn.Module) -> None:
    """Draw convolutions from He's normal distribution, then set what starts at special values.

    Source: He et al., Delving Deep into Rectifiers, ICCV 2015.
    """
    for module in network.modules():
        if isinstance(module, nn.modules.conv._ConvNd):
            nn.init.kaiming_normal_(module.weight, a=0.01)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, Droppable):
            module.start()
