"""Gates that end in a smaller network: a price on what they let through, and their removal.

With a compute penalty the loss pays for every gate of ``--shortcut gated`` and ``gated-channel``,
on blocks and on the U-Net's long skips, in proportion to the operations behind it. What closes is
taken out of the network after the training: x + 0·F(x) is x.

Source of the idea of gates as an L1-penalised choice: Huang & Wang, Data-Driven Sparse Structure
Selection for Deep Neural Networks, ECCV 2018.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seg.networks import SegmentationNetwork
from seg.networks.block import ResidualBlock
from seg.networks.costs import flops_of
from seg.networks.decoder import Level
from seg.networks.layers import Axes
from seg.networks.shortcut import ScalarGated

CLOSED = 0.02
"""A gate counts as closed where no channel of it lets more through."""


@dataclass(frozen=True, eq=False)
class Pruned:
    """A network without what its closed gates kept out."""

    network: SegmentationNetwork
    removed: tuple[str, ...] = ()
    """Blocks, and levels of the decoder that have lost their skip."""


def gates_of(network: SegmentationNetwork) -> dict[str, nn.Parameter]:
    """The gates by the names that ``SegmentationNetwork.without`` takes."""
    found = {}
    for name in (*network.droppable_blocks(reshaping=True), *network.gated_skips()):
        module = network.get_submodule(name)
        if isinstance(module, ResidualBlock) and isinstance(module.shortcut, ScalarGated):
            found[name] = module.shortcut.gate
        elif isinstance(module, Level):
            found[name] = module.gate.get_parameter("gate")
    return found


def shares_of(network: SegmentationNetwork, patch: Axes) -> dict[str, float]:
    """Share of the network's operations that goes with each gate."""
    whole = flops_of(network, patch)
    return {
        name: 1 - flops_of(network.without([name]), patch) / whole for name in gates_of(network)
    }


def price(network: SegmentationNetwork, shares: Mapping[str, float]) -> Float[Tensor, ""]:
    """Sum over the gates of their mean magnitude times the share of operations behind them."""
    gates = gates_of(network)
    paid = [share * gates[name].abs().mean() for name, share in shares.items() if name in gates]
    return torch.stack(paid).sum() if paid else torch.zeros(())


def pruned(network: SegmentationNetwork) -> Pruned:
    """The network without the branches and skips whose gates have closed.

    Equals the network with those gates at 0.
    """
    removed = tuple(
        name
        for name, gate in gates_of(network).items()
        if float(gate.detach().abs().max()) <= CLOSED
    )
    return Pruned(network.without(removed) if removed else network, removed)
