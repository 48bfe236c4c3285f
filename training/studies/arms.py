"""Kinds of networks that studies compare, and how their weights begin.

An arm is a shortcut by name, or something about the network changed beside it: no normalisation,
another start, branches that are dropped while it trains.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from torch import nn

from seg.networks import ResidualUNet
from seg.networks.block import ResidualBlock
from training.studies.setting import Setting, study_config


@dataclass(frozen=True)
class Arm:
    """A kind of network, to be trained at each depth with each seed."""

    name: str
    """As tables and pictures call it."""
    shortcut: str
    changes: tuple[tuple[str, Any], ...] = ()
    """Other fields of ``UNetConfig``."""
    start: str = "he"
    """One of ``STARTS``."""

    @property
    def key(self) -> str:
        """The name as a part of a file's name."""
        return "-".join(self.name.replace(",", "").split())

    def network(
        self, setting: Setting, patch: tuple[int, ...], counts: tuple[int, int], layers: int
    ) -> ResidualUNet:
        """A fresh network; sizes as ``study_config`` takes them."""
        config = study_config(setting, patch, counts, self.shortcut, layers)
        network = ResidualUNet(replace(config, **dict(self.changes)))
        STARTS[self.start](network)
        return network


def as_made(network: ResidualUNet) -> None:
    """He's normal distribution, and branches that add begin at 0: what the library does."""


def glorot(network: ResidualUNet) -> None:
    """Draw convolutions as before rectifiers had a start of their own; branches begin at 0.

    A rectifier halves the variance of what passes, and this start does not make up for it.

    Source: Glorot & Bengio, Understanding the Difficulty of Training Deep Feedforward Neural
    Networks, AISTATS 2010.
    """
    for module in network.modules():
        if isinstance(module, nn.modules.conv._ConvNd):
            nn.init.xavier_normal_(module.weight)
    for module in network.modules():
        if isinstance(module, ResidualBlock):
            module.start()


def drawn(network: ResidualUNet) -> None:
    """Let branches begin as they are drawn, and not at 0, as the papers on residual networks do."""
    for module in network.modules():
        if isinstance(module, ResidualBlock) and module.has_droppable_branch:
            *_, end_of_branch = module.branch.modules()
            weight = end_of_branch.get_parameter("weight")
            if weight.ndim > 1:
                nn.init.kaiming_normal_(weight, a=0.01)
            else:
                nn.init.ones_(weight)


def glorot_drawn(network: ResidualUNet) -> None:
    """As ``glorot``, with branches that begin as they are drawn."""
    glorot(network)
    drawn(network)


STARTS: Mapping[str, Callable[[ResidualUNet], None]] = MappingProxyType(
    {"he": as_made, "glorot": glorot, "drawn": drawn, "glorot, drawn": glorot_drawn}
)
"""How weights begin, by name."""


def by_shortcut(shortcut: str) -> Arm:
    """The arm that bears a shortcut's name and changes nothing else."""
    return Arm(shortcut, shortcut)
