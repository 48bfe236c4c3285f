"""What each block of a network gives, and which could go."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from seg.errors import ConfigError
from seg.networks import SegmentationNetwork
from seg.networks.block import ResidualBlock
from seg.networks.costs import flops_of
from seg.networks.layers import Axes
from seg.verbs import called
from training.learning.gates import CLOSED, gates_of, pruned, shares_of
from training.variants.lesions import Cut, Lesions, lesions_of
from training.variants.probe import Probe

NOTHING = 0.001
"""Dice below which a block counts as doing nothing."""


PAYS = 0.01
"""Dice that all droppable blocks together must be worth for depth to pay."""


LISTENED_WINDOWS = 4


@dataclass(frozen=True)
class BlockFinding:
    """One block."""

    name: str
    lost: float
    """Dice without it."""
    saved: float
    """Share of the network's operations that go with it."""
    strength: float
    """Root mean square of what the block adds, over that of its input; its gate included."""


@dataclass(frozen=True)
class Diagnosis:
    """All blocks, and what follows."""

    findings: tuple[BlockFinding, ...]
    lesions: Lesions

    @property
    def spare(self) -> Cut:
        """The shallowest network on the greedy path that loses next to nothing."""
        whole = self.lesions.whole
        good = [cut for cut in self.lesions.path if whole.dice - cut.dice < NOTHING]
        return min(good, key=lambda cut: cut.flops)

    @property
    def bare(self) -> Cut:
        """The network without all droppable blocks."""
        return self.lesions.path[-1]


def diagnose(network: SegmentationNetwork, probe: Probe, *, progress: bool = True) -> Diagnosis:
    """Leave out what can be left out, and listen to what the blocks add.

    Raises:
        ConfigError: the network has no block that can be dropped.
    """
    if not network.droppable_blocks(reshaping=True):
        raise ConfigError(
            "this network has no block that can be dropped: its shortcuts do not add, or are those "
            "of another library that docs/encoders.md does not list"
        )
    lesions = lesions_of(network, probe, progress=progress)
    whole = lesions.whole
    strengths = _strengths(network, probe)
    findings = tuple(
        BlockFinding(
            name=cut.dropped[0],
            lost=whole.dice - cut.dice,
            saved=1 - cut.flops / whole.flops,
            strength=strengths[cut.dropped[0]],
        )
        for cut in lesions.alone
    )
    return Diagnosis(findings, lesions)


def _strengths(network: SegmentationNetwork, probe: Probe) -> dict[str, float]:
    heard: dict[str, list[float]] = {name: [] for name in network.droppable_blocks(reshaping=True)}

    def listen(name: str) -> object:
        block = network.get_submodule(name)

        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            added = _added(module, inputs[0], output)
            heard[name].append(float(added.square().mean() / inputs[0].square().mean()) ** 0.5)

        return block.register_forward_hook(hook)

    handles = [listen(name) for name in heard]
    with torch.inference_mode():
        for image in probe.images[:LISTENED_WINDOWS]:
            network(torch.from_numpy(image[None]))
    for handle in handles:
        handle.remove()  # type: ignore[attr-defined]
    return {name: float(np.mean(each)) for name, each in heard.items()}


def _added(
    module: nn.Module, x: Float[Tensor, "b c *spatial"], y: Float[Tensor, "b c *spatial"]
) -> Float[Tensor, "b c *spatial"]:
    if isinstance(module, ResidualBlock):
        kept: Tensor = module.without_branch()(x)
        return y - kept
    return y - x


def diagnosis_in_words(diagnosis: Diagnosis) -> str:
    """A table and what follows from it."""
    whole, spare, bare = diagnosis.lesions.whole, diagnosis.spare, diagnosis.bare
    width = max(len(each.name) for each in diagnosis.findings)
    lines = [f"{'block':{width}}  Dice lost  operations  strength"]
    lines += [
        f"{each.name:{width}}  {each.lost:+9.4f}  {100 * each.saved:7.1f} %  {each.strength:8.3f}"
        + ("  does nothing" if each.lost < NOTHING else "")
        for each in diagnosis.findings
    ]
    blocks = len(diagnosis.findings)
    lines.append("")
    if spare.dropped:
        saved = 100 * (1 - spare.flops / whole.flops)
        lines.append(
            f"{len(spare.dropped)} of {blocks} blocks can go: {saved:.0f} % "
            f"of the operations for a Dice of {spare.dice:.4f} in place of {whole.dice:.4f}: "
            f"{', '.join(spare.dropped)}"
        )
    else:
        lines.append(f"no block can go without a loss of Dice above {NOTHING:g}")
    lost = whole.dice - bare.dice
    left = 100 * bare.flops / whole.flops
    verdict = (
        f"depth pays here: without all {blocks} blocks the Dice is {bare.dice:.4f}"
        if lost >= PAYS
        else f"depth does not pay here: without all {blocks} blocks the Dice is still "
        f"{bare.dice:.4f}, at {left:.0f} % of the operations; train a smaller network"
    )
    lines.append(verdict)
    lines.append(
        "measured on windows of the training cases; "
        f"{called('training.export', '--variants')} scores such networks on the test cases"
    )
    return "\n".join(lines)


def gates_in_words(network: SegmentationNetwork, patch: Axes) -> str:
    """How far each gate is open, and what goes with those that have closed; empty without gates."""
    gates = gates_of(network)
    if not gates:
        return ""
    shares, removed = shares_of(network, patch), pruned(network).removed
    width = max(map(len, gates))
    lines = [f"{'gate':{width}}  open to  operations"]
    for name, gate in gates.items():
        widest = float(gate.detach().abs().max())
        closed = "  closed" if name in removed else ""
        lines.append(f"{name:{width}}  {widest:7.3f}  {100 * shares[name]:8.1f} %{closed}")
    left = flops_of(network.without(removed), patch) / flops_of(network, patch)
    lines += ["", f"{len(removed)} of {len(gates)} gates have closed (at most {CLOSED:g}); without "
              f"what is behind them {100 * left:.0f} % of the operations are left"]  # fmt: skip
    return "\n".join(lines)
