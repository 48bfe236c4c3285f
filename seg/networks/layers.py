"""The layers a network is made of, in 2D and 3D by one code: tables instead of if-chains."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

Axes = tuple[int, ...]
"""One number a spatial axis, in the order (z, y, x)."""

CONV: dict[int, Callable[..., nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED_CONV: dict[int, Callable[..., nn.Module]] = {
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}
AVERAGE_POOL: dict[int, Callable[..., nn.Module]] = {2: nn.AvgPool2d, 3: nn.AvgPool3d}
MAX_POOL: dict[int, Callable[..., nn.Module]] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}


def _group_norm(channels: int) -> nn.Module:
    return nn.GroupNorm(math.gcd(8, channels), channels)


class Affine(nn.Module):
    """What is left of a normalisation without statistics: a learned scale and shift a channel.

    For studies of what networks do that are not normalised. A branch that ends with it can start
    at 0 like any other.
    """

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.axes = (-1, *[1] * spatial_dims)

    def forward(self, x: Float[Tensor, "b c *spatial"]) -> Float[Tensor, "b c *spatial"]:
        """Return ``x``, scaled and shifted."""
        return x * self.weight.view(self.axes) + self.bias.view(self.axes)


NORMALISATIONS: dict[str, dict[int, Callable[[int], nn.Module]]] = {
    "instance": {
        2: partial(nn.InstanceNorm2d, affine=True),
        3: partial(nn.InstanceNorm3d, affine=True),
    },
    "batch": {2: nn.BatchNorm2d, 3: nn.BatchNorm3d},
    "group": {2: _group_norm, 3: _group_norm},
    "none": {2: partial(Affine, 2), 3: partial(Affine, 3)},
}

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "leaky_relu": partial(nn.LeakyReLU, 0.01, inplace=True),
    "relu": partial(nn.ReLU, inplace=True),
    "gelu": nn.GELU,
    "silu": partial(nn.SiLU, inplace=True),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Layers:
    """Makes layers of one dimension, normalisation and activation.

    Convolutions carry no bias: a normalisation follows each of them and would remove it.
    """

    spatial_dims: int
    normalisation: str
    activation: str
    projections: str = "pooled"

    def conv(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Axes,
        stride: Axes,
        *,
        bias: bool = False,
    ) -> nn.Module:
        """A convolution that keeps the size, but for its stride.

        It has a bias only where no normalisation follows.
        """
        return CONV[self.spatial_dims](
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=tuple(k // 2 for k in kernel_size),
            bias=bias,
        )

    def pointwise(self, in_channels: int, out_channels: int, *, bias: bool = False) -> nn.Module:
        """A convolution of kernel size 1."""
        return CONV[self.spatial_dims](in_channels, out_channels, 1, bias=bias)

    def upsample(self, in_channels: int, out_channels: int, stride: Axes) -> nn.Module:
        """A transposed convolution whose windows touch but do not overlap: no checkerboard."""
        return TRANSPOSED_CONV[self.spatial_dims](
            in_channels, out_channels, kernel_size=stride, stride=stride
        )

    def average_pool(self, stride: Axes) -> nn.Module:
        """Mean over each ``stride``-sized box."""
        return AVERAGE_POOL[self.spatial_dims](stride, stride)

    def max_pool(self, stride: Axes) -> nn.Module:
        """Largest value of 3 voxels along each axis that has a stride."""
        kernel_size = tuple(3 if s > 1 else 1 for s in stride)
        padding = tuple(k // 2 for k in kernel_size)
        return MAX_POOL[self.spatial_dims](kernel_size, stride, padding)

    def projection(self, in_channels: int, out_channels: int, stride: Axes) -> nn.Module:
        """What carries a shortcut to another shape; empty where the shape is kept."""
        if in_channels == out_channels and max(stride) == 1:
            return nn.Identity()
        return PROJECTIONS[self.projections](self, in_channels, out_channels, stride)

    def norm(self, channels: int) -> nn.Module:
        """A normalisation with learned scale and shift."""
        return NORMALISATIONS[self.normalisation][self.spatial_dims](channels)

    def act(self) -> nn.Module:
        """The nonlinearity."""
        return ACTIVATIONS[self.activation]()


def pooled(layers: Layers, in_channels: int, out_channels: int, stride: Axes) -> nn.Module:
    """Mean over the stride, then a 1x1 convolution where the channels change.

    Every voxel gets through; a strided 1x1 convolution would drop three of four.

    Source: He et al., Bag of Tricks for Image Classification with CNNs, CVPR 2019, fig. 2c.
    """
    project = nn.Sequential()
    if max(stride) > 1:
        project.add_module("pool", layers.average_pool(stride))
    if in_channels != out_channels:
        project.add_module("conv", layers.pointwise(in_channels, out_channels))
        project.add_module("norm", layers.norm(out_channels))
    return project


def strided(layers: Layers, in_channels: int, out_channels: int, stride: Axes) -> nn.Module:
    """A 1x1 convolution with the stride.

    Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, option B.
    """
    project = nn.Sequential()
    project.add_module("conv", layers.conv(in_channels, out_channels, (1,) * len(stride), stride))
    project.add_module("norm", layers.norm(out_channels))
    return project


PROJECTIONS: dict[str, Callable[[Layers, int, int, Axes], nn.Module]] = {
    "pooled": pooled,
    "strided": strided,
}


def parameter_count(network: nn.Module) -> int:
    """Number of learned numbers."""
    return sum(weight.numel() for weight in network.parameters())
