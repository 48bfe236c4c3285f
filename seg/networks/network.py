"""What all networks can do: say which of their parts can be left out, and do without them."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from difflib import get_close_matches
from typing import TypeVar

from torch import nn

from seg.errors import ConfigError
from seg.networks.block import Droppable
from seg.networks.config import UNetConfig
from seg.networks.decoder import Level, SkipGate
from seg.networks.foreign.blocks import without_foreign_branch
from seg.networks.foreign.config import ForeignConfig

_Network = TypeVar("_Network", bound="SegmentationNetwork")


class SegmentationNetwork(nn.Module):
    """Maps images ``(b, c, *patch)`` to logits ``(b, k, *patch)``."""

    config: UNetConfig | ForeignConfig

    @property
    @abstractmethod
    def encoder_module(self) -> nn.Module | None:
        """The part that may have been trained elsewhere; None where all is this network's own."""

    def droppable_blocks(self, *, reshaping: bool = False) -> tuple[str, ...]:
        """Names of the blocks whose shortcut adds and keeps the shape, in forward order.

        Blocks of other libraries are among them where ``foreign.blocks`` knows their class.

        Args:
            reshaping: name those as well that change the shape; what is left of one is the
                projection around its branch.
        """
        return tuple(
            name
            for name, module in self.named_modules()
            if _is_droppable(module, reshaping=reshaping)
        )

    def gated_skips(self) -> tuple[str, ...]:
        """Names of the decoder's levels whose skip has a gate, coarsest first."""
        return tuple(
            name
            for name, module in self.named_modules()
            if isinstance(module, Level) and isinstance(module.gate, SkipGate)
        )

    def without(self: _Network, blocks: Iterable[str]) -> _Network:
        """A smaller copy that computes what this network does when those branches give 0.

        The weights that are left keep their names.

        Args:
            blocks: some of ``droppable_blocks(reshaping=True)``, and of ``gated_skips()``, whose
                levels then do without the encoder's features.

        Raises:
            ConfigError: a name is none of them.
        """
        smaller = deepcopy(self)
        chosen, skips = tuple(blocks), self.gated_skips()
        smaller._drop(name for name in chosen if name not in skips)
        for name in skips:
            if name in chosen:
                level = smaller.get_submodule(name)
                assert isinstance(level, Level)
                smaller.set_submodule(name, level.without_skip())
        return smaller

    @contextmanager
    def skipping(self, blocks: Iterable[str]) -> Iterator[None]:
        """Be ``without(blocks)`` for a while, with the same weights: what is left still learns.

        Raises:
            ConfigError: a name is not one of ``droppable_blocks(reshaping=True)``.
        """
        dropped = self._drop(blocks)
        try:
            yield
        finally:
            for name, block in dropped.items():
                self.set_submodule(name, block)

    def _drop(self, blocks: Iterable[str]) -> dict[str, nn.Module]:
        """Put what is left of them in the place of blocks, which are returned."""
        droppable, chosen = self.droppable_blocks(reshaping=True), tuple(blocks)
        for name in chosen:
            if name not in droppable:
                near = get_close_matches(name, droppable, n=3) or droppable[:3] or ("none",)
                raise ConfigError(
                    f"no droppable block is called {name!r}; the nearest are {', '.join(near)}"
                )
        dropped: dict[str, nn.Module] = {}
        for name in chosen:
            dropped[name] = block = self.get_submodule(name)
            self.set_submodule(name, _without_branch(block))
        return dropped


def _is_droppable(module: nn.Module, *, reshaping: bool) -> bool:
    if isinstance(module, Droppable):
        return module.is_droppable or (reshaping and module.has_droppable_branch)
    return without_foreign_branch(module) is not None


def _without_branch(block: nn.Module) -> nn.Module:
    left = block.without_branch() if isinstance(block, Droppable) else without_foreign_branch(block)
    assert left is not None  # it is droppable
    return left
