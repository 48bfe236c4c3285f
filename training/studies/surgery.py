"""Blocks taken out, swapped, or passed by one side only, in copies of a trained network."""

import math
from collections.abc import Collection, Sequence
from copy import deepcopy

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from seg.networks import ResidualUNet
from seg.networks.block import Droppable, ResidualBlock
from training.studies.task import Batch, Loss


def kept_blocks(network: ResidualUNet) -> list[str]:
    """Names of the encoder's blocks that keep the shape, in forward order."""
    return [
        name
        for name, block in network.named_modules()
        if name.startswith("encoder.") and isinstance(block, ResidualBlock) and block.shape.is_kept
    ]


def without(network: ResidualUNet, blocks: Collection[str]) -> ResidualUNet:
    """A copy with these blocks removed.

    Where nothing is added around the branch, as in a plain network, the whole block goes and its
    input passes on; Veit et al. do so with VGG.
    """
    copy = deepcopy(network)
    for name in blocks:
        block = copy.get_submodule(name)
        if isinstance(block, Droppable) and block.is_droppable:
            copy.set_submodule(name, block.without_branch())
        else:
            copy.set_submodule(name, nn.Identity())
    return copy


def permuted(network: ResidualUNet, swaps: int, rng: np.random.Generator) -> ResidualUNet:
    """A copy in which pairs of blocks of one stage have changed places, one pair after another."""
    copy = deepcopy(network)
    stages: dict[str, list[str]] = {}
    for name in kept_blocks(network):
        stages.setdefault(name.rpartition(".")[0], []).append(name)
    choices = [blocks for blocks in stages.values() if len(blocks) > 1]
    for _ in range(swaps):
        one, other = rng.choice(choices[int(rng.integers(len(choices)))], 2, replace=False)
        first, second = copy.get_submodule(str(one)), copy.get_submodule(str(other))
        copy.set_submodule(str(one), second)
        copy.set_submodule(str(other), first)
    return copy


class _OneWay(nn.Module):
    """A block whose value is the same, and whose gradient flows through one side alone."""

    def __init__(self, block: ResidualBlock, through_branch: bool) -> None:
        super().__init__()
        self.block = block
        self.through_branch = through_branch

    def forward(self, x: Float[Tensor, "b c *spatial"]) -> Float[Tensor, "b c *spatial"]:
        fx = self.block.excite(self.block.branch(x))
        sides = (x.detach(), fx) if self.through_branch else (x, fx.detach())
        joined: Tensor = self.block.shortcut(*sides)
        return joined


def path_gradients(
    network: ResidualUNet, batch: Batch, loss: Loss, draws: int, rng: np.random.Generator
) -> Float64[np.ndarray, " n"]:
    """Share of the gradient that paths of 0, 1, ... n-1 branches carry to the stem.

    The norm of a path's gradient is measured on random paths of each length and multiplied by the
    number of such paths. Paths that leave the encoder early, by a skip of the U-Net, are shut.

    Source: Veit et al., Residual Networks Behave Like Ensembles of Relatively Shallow Networks,
    NeurIPS 2016, section 4.3.
    """
    names = kept_blocks(network)
    lengths = range(len(names) + 1)
    norms = [
        np.mean([_norm(network, batch, loss, _drawn(names, length, rng)) for _ in range(draws)])
        for length in lengths
    ]
    with np.errstate(divide="ignore"):  # a path that carries nothing has the weight exp(-inf) = 0
        logs = np.log(norms) + [math.log(math.comb(len(names), length)) for length in lengths]
    weight = np.exp(logs - logs[np.isfinite(logs)].max())
    return np.asarray(weight / weight.sum(), dtype=np.float64)


def _drawn(names: Sequence[str], length: int, rng: np.random.Generator) -> set[str]:
    return {str(name) for name in rng.choice(names, length, replace=False)}


def _norm(network: ResidualUNet, batch: Batch, loss: Loss, through: Collection[str]) -> float:
    """Norm at the stem of the gradient that flows through these branches and no other."""
    copy = deepcopy(network)
    for name in kept_blocks(network):
        block = copy.get_submodule(name)
        assert isinstance(block, ResidualBlock)
        copy.set_submodule(name, _OneWay(block, name in through))
    stems: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: Tensor) -> Tensor:
        stems.append(output.detach().requires_grad_())
        # the blocks may work in place on what they are given
        return stems[0].clone()

    def shut(_: nn.Module, given: tuple[list[Tensor]]) -> tuple[list[Tensor]]:
        *skips, deepest = given[0]
        return ([*(skip.detach() for skip in skips), deepest],)

    copy.encoder.get_submodule("stem").register_forward_hook(keep)
    copy.decoder.register_forward_pre_hook(shut)
    images, labels = batch
    cost = loss(copy(images), labels.float())
    (gradient,) = torch.autograd.grad(cost, stems[0])
    return float(gradient.norm())
