# mypy: disable-error-code=no-any-return
# Calling an nn.Module is typed Any.
"""The axis: how a block's input ``x`` meets what its branch made of it, ``fx``.

A shortcut of your own is a class and an entry::

    class Scaled(Additive):
        def forward(self, x: Tensor, fx: Tensor) -> Tensor:
            return self.project(x) + 0.1 * fx

    SHORTCUTS["scaled"] = Scaled
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seg.errors import ConfigError
from seg.networks.layers import Axes, Layers

Features = Float[Tensor, "b c_in *spatial"]
Branch = Float[Tensor, "b c_branch *smaller"]
Joined = Float[Tensor, "b c_out *smaller"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockShape:
    """Channels and resolution of one block."""

    in_channels: int
    branch_channels: int
    out_channels: int
    kernel_size: Axes
    stride: Axes

    @property
    def is_kept(self) -> bool:
        """The output has the shape of the input."""
        return self.in_channels == self.out_channels and max(self.stride) == 1


class Shortcut(nn.Module):
    """Joins ``x`` and ``fx``; says how the branch is built and how it starts."""

    additive: ClassVar[bool] = False
    """``fx`` is added, so that a branch of 0 leaves the input: such a block can be dropped."""
    preactivated: ClassVar[bool] = False
    """The branch is norm, act, conv (He et al. 2016) and not conv, norm, act."""

    def __init__(self, layers: Layers, shape: BlockShape) -> None:
        super().__init__()

    @staticmethod
    def plan(out_channels: int, blocks: int) -> Sequence[tuple[int, int]]:
        """Channels of branch and output, for each block of a stage."""
        return [(out_channels, out_channels)] * blocks

    def start(self, end_of_branch: nn.Module) -> None:
        """Set the weights that start at a special value, after all others are drawn.

        Args:
            end_of_branch: the branch's last layer, a normalisation or a convolution.
        """

    def forward(self, x: Features, fx: Branch) -> Joined:
        """Return the block's output."""
        raise NotImplementedError


class Plain(Shortcut):
    """No shortcut: act(F(x))."""

    def __init__(self, layers: Layers, shape: BlockShape) -> None:
        super().__init__(layers, shape)
        self.act = layers.act()

    def forward(self, x: Features, fx: Branch) -> Joined:
        """Return act(F(x))."""
        return self.act(fx)


class Additive(Shortcut):
    """x + F(x), with a projection where the shape changes; base of the shortcuts that add.

    F(x) starts at 0, so that each block starts as identity.

    Source of the start: Goyal et al., Accurate, Large Minibatch SGD, 2017, section 5.1.
    """

    additive = True

    def __init__(self, layers: Layers, shape: BlockShape) -> None:
        super().__init__(layers, shape)
        self.project = layers.projection(shape.in_channels, shape.out_channels, shape.stride)

    def start(self, end_of_branch: nn.Module) -> None:
        """Set the end of the branch to 0."""
        nn.init.zeros_(end_of_branch.get_parameter("weight"))

    def forward(self, x: Features, fx: Branch) -> Joined:
        """Return x + F(x)."""
        return self.project(x) + fx

    def without_branch(self) -> nn.Sequential:
        """What is left of the block when F(x) is 0; the layers keep their names."""
        left = nn.Sequential()
        left.add_module("project", self.project)
        return left


class Identity(Additive):
    """act(x + F(x)).

    Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, eq. 1 and 2.
    """

    def __init__(self, layers: Layers, shape: BlockShape) -> None:
        super().__init__(layers, shape)
        self.act = layers.act()

    def forward(self, x: Features, fx: Branch) -> Joined:
        """Return act(x + F(x))."""
        return self.act(self.project(x) + fx)

    def without_branch(self) -> nn.Sequential:
        """The activation stays, as LeakyReLU twice is not LeakyReLU once."""
        left = super().without_branch()
        left.add_module("act", OutOfPlace(self.act))
        return left


class OutOfPlace(nn.Module):
    """Applies an in-place layer to a copy: its input may be needed for the gradient."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Features) -> Features:
        """Return ``layer(x)`` and leave x alone."""
        return self.layer(x.clone())


class Preactivated(Additive):
    """x + F(act(norm(x))): nothing but additions between the first block and the last.

    Source: He et al., Identity Mappings in Deep Residual Networks, ECCV 2016, fig. 4e.
    """

    preactivated = True


class ScalarGated(Additive):
    """x + g·F(x), g one learned number a block that starts at 0.

    Source: Bachlechner et al., ReZero, 2020; De & Smith, Batch Normalization Biases Residual
    Blocks Towards the Identity Function (SkipInit), NeurIPS 2020.
    """

    preactivated = True

    def __init__(self, layers: Layers, shape: BlockShape) -> None:
        super().__init__(layers, shape)
        self.gate = nn.Parameter(torch.zeros(1))

    def start(self, end_of_branch: nn.Module) -> None:
        """Leave the branch as drawn: were it 0 as well, no gradient would reach the gate."""

    def forward(self, x: Features, fx: Branch) -> Joined:
        """Return x + g·F(x)."""
        return self.project(x) + self.gate * fx


class ChannelGated(ScalarGated):
    """x + g·F(x), g one learned number a channel that starts at 0.

    Source: Touvron et al., Going Deeper with Image Transformers (LayerScale), ICCV 2021; they
    start g at 0.1 or less, here it starts at 0 like the scalar gate.
    """

    def __init__(self, layers: Layers, shape: BlockShape) -> None:
        super().__init__(layers, shape)
        # One axis, as torch takes weights of four or five axes for images' memory formats.
        self.gate = nn.Parameter(torch.zeros(shape.out_channels))
        self.axes = (-1, *[1] * layers.spatial_dims)

    def forward(self, x: Features, fx: Branch) -> Joined:
        """Return x + g·F(x)."""
        return self.project(x) + self.gate.view(self.axes) * fx


class Highway(Shortcut):
    """T(x)·act(F(x)) + (1 - T(x))·x, T a convolution and a sigmoid, a gate for every voxel.

    T starts near 0.1: most of x is carried.

    Source: Srivastava et al., Training Very Deep Networks, NeurIPS 2015, eq. 3 and section 2.2.
    """

    closed = -2.0
    """Where the gate's bias starts; the paper takes -1 to -4, by depth."""

    def __init__(self, layers: Layers, shape: BlockShape) -> None:
        super().__init__(layers, shape)
        self.project = layers.projection(shape.in_channels, shape.out_channels, shape.stride)
        self.act = layers.act()
        self.transform = layers.conv(
            shape.in_channels,
            shape.out_channels,
            shape.kernel_size,
            shape.stride,
            bias=True,
        )

    def start(self, end_of_branch: nn.Module) -> None:
        """Close the gates."""
        nn.init.constant_(self.transform.get_parameter("bias"), self.closed)

    def forward(self, x: Features, fx: Branch) -> Joined:
        """Return a blend of F(x) and x."""
        transform = torch.sigmoid(self.transform(x))
        # Not torch.lerp, which does not mix the dtypes of autocast.
        return transform * self.act(fx) + (1 - transform) * self.project(x)


class Dense(Shortcut):
    """concat(x, F(x)): every block of a stage sees the outputs of all before it.

    Stages keep the channels that the configuration asks for: a stage starts at half of them and
    its blocks add the other half in equal parts, as DenseNet's transitions halve (theta = 0.5).

    Source: Huang et al., Densely Connected Convolutional Networks, CVPR 2017.
    """

    preactivated = True

    def __init__(self, layers: Layers, shape: BlockShape) -> None:
        super().__init__(layers, shape)
        carried = shape.out_channels - shape.branch_channels
        self.project = layers.projection(shape.in_channels, carried, shape.stride)

    @staticmethod
    def plan(out_channels: int, blocks: int) -> Sequence[tuple[int, int]]:
        """Channels of branch and output, for each block of a stage."""
        growth = max(1, out_channels // (2 * max(1, blocks)))
        start = out_channels - blocks * growth
        if start < 1:
            raise ConfigError(
                f"dense shortcuts need more features than blocks in a stage, got {out_channels} "
                f"features for {blocks} blocks"
            )
        return [(growth, start + growth * (index + 1)) for index in range(blocks)]

    def forward(self, x: Features, fx: Branch) -> Joined:
        """Return x and F(x) side by side."""
        return torch.cat((self.project(x), fx), dim=1)


SHORTCUTS: dict[str, type[Shortcut]] = {
    "none": Plain,
    "identity": Identity,
    "preact": Preactivated,
    "gated": ScalarGated,
    "gated-channel": ChannelGated,
    "highway": Highway,
    "dense": Dense,
}
"""By the name that a plan and ``--shortcut`` use; one of your own is one entry more."""
