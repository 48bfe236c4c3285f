"""The layers a network is made of, in 2D and 3D by one code: tables instead of if-chains."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import TypeVar

from torch import nn

from seg.errors import ConfigError

Axes = tuple[int, ...]
"""One number a spatial axis, in the order (z, y, x)."""

CONV: dict[int, Callable[..., nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED_CONV: dict[int, Callable[..., nn.Module]] = {
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}
AVERAGE_POOL: dict[int, Callable[..., nn.Module]] = {2: nn.AvgPool2d, 3: nn.AvgPool3d}


def _group_norm(channels: int) -> nn.Module:
    return nn.GroupNorm(math.gcd(8, channels), channels)


NORMALISATIONS: dict[str, dict[int, Callable[[int], nn.Module]]] = {
    "instance": {
        2: partial(nn.InstanceNorm2d, affine=True),
        3: partial(nn.InstanceNorm3d, affine=True),
    },
    "batch": {2: nn.BatchNorm2d, 3: nn.BatchNorm3d},
    "group": {2: _group_norm, 3: _group_norm},
}

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "leaky_relu": partial(nn.LeakyReLU, 0.01, inplace=True),
    "relu": partial(nn.ReLU, inplace=True),
    "gelu": nn.GELU,
    "silu": partial(nn.SiLU, inplace=True),
}

Entry = TypeVar("Entry")


def chosen(table: Mapping[str, Entry], name: str, what: str) -> Entry:
    """The entry of that name.

    Raises:
        ConfigError: there is none; the message tells the nearest names.
    """
    if name in table:
        return table[name]
    near = get_close_matches(name, table, n=3) or list(table)
    raise ConfigError(f"no {what} is called {name!r}; did you mean {' or '.join(near)}?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Layers:
    """Makes layers of one dimension, normalisation and activation.

    Convolutions carry no bias: a normalisation follows each of them and would remove it.
    """

    spatial_dims: int
    normalisation: str
    activation: str

    def conv(
        self, in_channels: int, out_channels: int, kernel_size: Axes, stride: Axes | None = None
    ) -> nn.Module:
        """A convolution that keeps the size, but for its stride."""
        return CONV[self.spatial_dims](
            in_channels,
            out_channels,
            kernel_size,
            stride=stride or 1,
            padding=tuple(k // 2 for k in kernel_size),
            bias=False,
        )

    def pointwise(self, in_channels: int, out_channels: int, *, bias: bool = False) -> nn.Module:
        """A convolution of kernel size 1."""
        return CONV[self.spatial_dims](in_channels, out_channels, 1, bias=bias)

    def upsample(self, in_channels: int, out_channels: int, stride: Axes) -> nn.Module:
        """A transposed convolution whose windows touch but do not overlap: no checkerboard."""
        return TRANSPOSED_CONV[self.spatial_dims](
            in_channels, out_channels, kernel_size=stride, stride=stride
        )

    def pool(self, stride: Axes) -> nn.Module:
        """Mean over each ``stride``-sized block."""
        if max(stride) == 1:
            return nn.Identity()
        return AVERAGE_POOL[self.spatial_dims](stride, stride)

    def norm(self, channels: int) -> nn.Module:
        """A normalisation with learned scale and shift."""
        return NORMALISATIONS[self.normalisation][self.spatial_dims](channels)

    def act(self) -> nn.Module:
        """The nonlinearity."""
        return ACTIVATIONS[self.activation]()


def initialise(network: nn.Module) -> None:
    """Draw convolutions from He's normal distribution; biases start at 0.

    Source: He et al., Delving Deep into Rectifiers, ICCV 2015.
    """
    for module in network.modules():
        if isinstance(module, nn.modules.conv._ConvNd):
            nn.init.kaiming_normal_(module.weight, a=0.01)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def parameter_count(network: nn.Module) -> int:
    """Number of learned numbers."""
    return sum(weight.numel() for weight in network.parameters())
