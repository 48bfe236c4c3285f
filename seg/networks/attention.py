# mypy: disable-error-code=no-any-return
# Calling an nn.Module is typed Any.
"""Attention blocks for the coarsest features, where every voxel can look at every other.

Letters: ``b`` batch, ``n`` voxels, ``c`` channels.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from seg.networks.block import Droppable, StochasticDepth

CHANNELS_PER_HEAD = 32


class SelfAttention(nn.Module):
    """Every voxel asks all voxels, in several heads.

    Source: Vaswani et al., Attention Is All You Need, NeurIPS 2017, section 3.2.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        heads = max(1, channels // CHANNELS_PER_HEAD)
        self.heads = next(n for n in range(heads, 0, -1) if channels % n == 0)
        self.queries_keys_values = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        """Return what each voxel found."""
        packed = self.queries_keys_values(x).unflatten(-1, (3, self.heads, -1))
        queries, keys, values = packed.permute(2, 0, 3, 1, 4)
        found = F.scaled_dot_product_attention(queries, keys, values)
        return self.out(found.transpose(1, 2).flatten(2))


class Perceptron(nn.Sequential):
    """Two linear layers with GELU between, four times as wide inside.

    Source: Vaswani et al., Attention Is All You Need, NeurIPS 2017, section 3.3.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.widen = nn.Linear(channels, 4 * channels)
        self.act = nn.GELU()
        self.out = nn.Linear(4 * channels, channels)


class TokenResidual(Droppable):
    """x + F(norm(x)); F starts at 0.

    Source of the normalisation's place: Xiong et al., On Layer Normalization in the Transformer
    Architecture, ICML 2020.
    """

    def __init__(self, channels: int, branch: nn.Module, drop_rate: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.branch = branch
        self.drop = StochasticDepth(drop_rate) if drop_rate else nn.Identity()

    @property
    def is_droppable(self) -> bool:
        """It adds and keeps the shape, always."""
        return True

    def start(self) -> None:
        """Set the last layer of the branch to 0."""
        end = self.branch.get_submodule("out")
        nn.init.zeros_(end.get_parameter("weight"))
        nn.init.zeros_(end.get_parameter("bias"))

    def without_branch(self) -> nn.Module:
        """The input, as it is."""
        return nn.Identity()

    def forward(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        """Return x + F(norm(x))."""
        return x + self.drop(self.branch(self.norm(x)))


class AttentionBlock(nn.Module):
    """x + attention(norm(x)), then x + perceptron(norm(x)), over the voxels of a feature map.

    There is no position embedding, so any size will do: the zeros around the convolutions before
    it tell where a voxel lies (Islam et al., How Much Position Information Do Convolutional
    Neural Networks Encode?, ICLR 2020).
    """

    def __init__(self, channels: int, drop_rate: float = 0.0) -> None:
        super().__init__()
        self.attention = TokenResidual(channels, SelfAttention(channels), drop_rate)
        self.perceptron = TokenResidual(channels, Perceptron(channels), drop_rate)

    def forward(self, x: Float[Tensor, "b c *spatial"]) -> Float[Tensor, "b c *spatial"]:
        """Return features of the same shape."""
        voxels = x.flatten(2).transpose(1, 2)
        voxels = self.perceptron(self.attention(voxels))
        return voxels.transpose(1, 2).unflatten(2, x.shape[2:])
