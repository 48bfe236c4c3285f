"""Windows by which variants are chosen. Letters: ``b`` windows, ``c`` channels, ``k`` logits.

They come from training cases: the scores on the held-back cases, which the card states, are then
those of cases that no choice has seen.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from training.dataset import Dataset, Legend
from training.learning.objects import class_logits
from training.learning.pooled_dice import PooledDice
from training.run.plan import Plan
from training.samples.held_back import richest_windows

WINDOWS = 12

Network = Callable[[Float32[np.ndarray, "b c *patch"]], Float32[np.ndarray, "b k *patch"]]
"""Patches to logits, whatever computes them."""


@dataclass(frozen=True, eq=False)
class Probe:
    """Windows with their labels."""

    images: Float32[np.ndarray, "b c *patch"]
    labels: UInt8[np.ndarray, "b *patch"]
    legend: Legend
    plan: Plan | None = None
    """Of a network with channels for objects, which count for their classes here."""

    def logits(self, network: Network) -> Float32[np.ndarray, "b k *patch"]:
        """What a network says, one window at a time."""
        return np.concatenate([network(each) for each in self.one_by_one()])

    def dice(self, network: Network) -> float:
        """Mean Dice of the foreground classes that occur, over all windows together."""
        logits = torch.from_numpy(self.logits(network))
        if self.plan is not None:
            logits = class_logits(logits, self.legend, self.plan)
        return float(PooledDice(self.legend)(logits, torch.from_numpy(self.labels)))

    def one_by_one(self) -> Iterator[Float32[np.ndarray, "1 c *patch"]]:
        """Batches of one."""
        yield from (image[None] for image in self.images)


def probe_of(dataset: Dataset, plan: Plan, windows: int = WINDOWS) -> Probe:
    """Windows of the training cases that show most."""
    found = richest_windows(dataset, dataset.train or dataset.test, plan, windows)
    return Probe(found.images, found.labels, dataset.legend, plan)
