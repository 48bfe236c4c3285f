"""Which blocks a trained network can do without: the greedy lesion curve.

Blocks go one after another, each time the one whose absence saves most compute for the Dice that
it costs. The order is searched and not taken from the depth: in nnU-Net's 3D layout the deep
stages hold 74% of the parameters and almost no compute.

Sources: Veit et al., Residual Networks Behave Like Ensembles of Relatively Shallow Networks,
NeurIPS 2016 (lesions).
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float32
from tqdm import tqdm

from seg.networks import SegmentationNetwork
from seg.networks.costs import flops_of
from training.variants.probe import Probe

CANDIDATES = 6
"""Blocks that are tried at each step, those first that were cheapest to lose the time before:
with 21 blocks 126 trials in place of 231."""
LEAST_LOSS = 5e-4
"""Dice differences below this are noise: then the compute saved decides."""


@dataclass(frozen=True)
class Cut:
    """A network without some blocks."""

    dropped: tuple[str, ...]
    """In the order in which they went."""
    flops: int
    """Of one patch."""
    dice: float
    """On the windows of the search."""


@dataclass(frozen=True)
class Lesions:
    """What dropping blocks costs and saves."""

    path: tuple[Cut, ...]
    """From the whole network to the one without all droppable blocks."""
    alone: tuple[Cut, ...]
    """The network without one block, for each block in forward order."""

    @property
    def whole(self) -> Cut:
        """The network as it was trained."""
        return self.path[0]


def lesions_of(network: SegmentationNetwork, probe: Probe, *, progress: bool = True) -> Lesions:
    """Drop blocks one after another until none is left."""
    network = network.cpu().float().eval()
    patch = probe.images.shape[2:]
    blocks = network.droppable_blocks(reshaping=True)
    whole = Cut((), flops_of(network, patch), _dice_without((), network, probe))
    saved = {name: whole.flops - flops_of(network.without([name]), patch) for name in blocks}
    path, alone = [whole], list[Cut]()
    ranked = list(blocks)
    tries = len(blocks) + sum(min(CANDIDATES, left) for left in range(1, len(blocks)))
    with tqdm(total=tries, desc="dropping", unit="try", disable=None if progress else True) as bar:
        while ranked:
            here = path[-1]
            tried: dict[str, Cut] = {}
            for name in ranked[: CANDIDATES if alone else None]:
                dropped = (*here.dropped, name)
                dice = _dice_without(dropped, network, probe)
                tried[name] = Cut(dropped, here.flops - saved[name], dice)
                bar.update()
            alone = alone or [tried[name] for name in blocks]
            best, *others = sorted(tried, key=lambda name: _worth(here, tried[name]), reverse=True)
            path.append(tried[best])
            ranked = others + [name for name in ranked if name not in tried]
    return Lesions(tuple(path), tuple(alone))


def _worth(before: Cut, after: Cut) -> float:
    """Compute saved for the Dice lost."""
    return (before.flops - after.flops) / max(before.dice - after.dice, LEAST_LOSS)


def _dice_without(blocks: Collection[str], network: SegmentationNetwork, probe: Probe) -> float:
    with network.skipping(blocks):
        return probe.dice(partial(said_by, network))


def said_by(
    network: SegmentationNetwork, patches: Float32[np.ndarray, "b c *patch"]
) -> Float32[np.ndarray, "b k *patch"]:
    """What the network itself says, in eval mode."""
    with torch.inference_mode():
        logits: Float32[np.ndarray, "b k *patch"] = network(torch.from_numpy(patches)).numpy()
    return logits


def depths(lesions: Lesions, most: int, most_lost: float) -> list[Cut]:
    """Shallower networks worth a closer look: spread over the compute that can be saved.

    Args:
        lesions: of the network.
        most: networks.
        most_lost: Dice that a network may lose on the windows of the search.
    """
    whole = lesions.whole
    good = [cut for cut in lesions.path[1:] if cut.dice >= whole.dice - most_lost]
    if len(good) <= most:
        return good
    least = good[-1].flops
    wanted = [whole.flops - (whole.flops - least) * (n + 1) / most for n in range(most)]
    nearest = {min(good, key=lambda cut: abs(cut.flops - flops)).dropped for flops in wanted}
    return [cut for cut in good if cut.dropped in nearest]
