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
    """Joins ``x`` and ``fx``; decides whether the branch starts with normalisation."""

    additive: ClassVar[bool] = False
    """``fx`` is added, so that a branch of 0 leaves the input: such a block can be dropped."""
    preactivated: ClassVar[bool] = False
    """The branch is norm, act, conv (He et al. 2016) and not conv, norm, act."""
    gated: ClassVar[bool] = False
    """A gate decides how much of ``fx`` is added; the branch need not start at 0."""

    def __init__(self, layers: Layers, shape: BlockShape) -> None:
        super().__init__()

    @staticmethod
    def plan(out_channels: int, blocks: int) -> Sequence[tuple[int, int]]:
        """Channels of branch and output, for each block of a stage."""
        return [(out_channels, out_channels)] * blocks

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


class Projection(nn.Sequential):
    """What carries ``x`` to another shape: mean over the stride, then a 1x1 convolution.

    Empty where the shape is kept. Pooling first lets every voxel of ``x`` through, a strided 1x1
    convolution drops three of four.

    Source: He et al., Bag of Tricks for Image Classification with CNNs, CVPR 2019, fig. 2c.
    """

    def __init__(self, layers: Layers, in_channels: int, out_channels: int, stride: Axes) -> None:
        super().__init__()
        if max(stride) > 1:
            self.add_module("pool", layers.pool(stride))
        if in_channels != out_channels:
            self.add_module("conv", layers.pointwise(in_channels, out_channels))
            self.add_module("norm", layers.norm(out_channels))


class Additive(Shortcut):
    """x + F(x), with a projection where the shape changes; base of the shortcuts that add.

    Branches end in zero at initialisation (see ``ResidualBlock``), so that each block starts as
    identity.
    """

    additive = True

    def __init__(self, layers: Layers, shape: BlockShape) -> None:
        super().__init__(layers, shape)
        self.project = Projection(layers, shape.in_channels, shape.out_channels, shape.stride)

    def forward(self, x: Features, fx: Branch) -> Joined:
        """Return x + F(x)."""
        return self.project(x) + fx

    def without_branch(self) -> nn.Module:
        """What is left of the block when F(x) is 0."""
        return self.project


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

    def without_branch(self) -> nn.Module:
        """The activation stays, as LeakyReLU twice is not LeakyReLU once."""
        return OutOfPlace(self.act)


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
    gated = True

    def __init__(self, layers: Layers, shape: BlockShape) -> None:
        super().__init__(layers, shape)
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, x: Features, fx: Branch) -> Joined:
        """Return x + g·F(x)."""
        return self.project(x) + self.gate * fx


class ChannelGated(ScalarGated):
    """x + g·F(x), g one learned number a channel that starts at 0.

    Source: Touvron et al., Going Deeper with Image Transformers (LayerScale), ICCV 2021; they
    start g at 1e-4 or less, here as the scalar gate at 0.
    """

    def __init__(self, layers: Layers, shape: BlockShape) -> None:
        super().__init__(layers, shape)
        self.gate = nn.Parameter(torch.zeros(shape.out_channels, *[1] * layers.spatial_dims))


SHORTCUTS: dict[str, type[Shortcut]] = {
    "none": Plain,
    "identity": Identity,
    "preact": Preactivated,
    "gated": ScalarGated,
    "gated-channel": ChannelGated,
}
