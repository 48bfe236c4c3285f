"""A short training, and how well its network segments whole cases that it did not see.

Letters: ``c`` channels, ``k`` channels of logits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32

from seg.inference.tiling.blending import gaussian_weights
from seg.inference.tiling.sliding_window import window_starts
from seg.networks import SegmentationNetwork
from training.dataset import Case, Dataset
from training.learning.objects import class_logits
from training.learning.pooled_dice import PooledDice
from training.learning.trainer import train
from training.run.clock import Clock
from training.run.device import Device
from training.run.plan import Plan
from training.samples.prepared_cases import on_the_network_s_grid, open_case, prepare_case

OVERLAP = 0.25
"""Of windows: less than in a package, since only the order of networks matters."""


@dataclass(frozen=True)
class Trial:
    """What a network reached in the time that it had."""

    plan: Plan
    steps: int
    dice: tuple[float, ...]
    """Mean over the classes, of each case that was not learnt from."""

    @property
    def mean(self) -> float:
        """Over the cases; NaN where none of them shows a class."""
        known = [dice for dice in self.dice if not np.isnan(dice)]
        return float(np.mean(known)) if known else float("nan")


def try_out(  # noqa: PLR0913 - all that a training needs
    plan: Plan,
    dataset: Dataset,
    learnt: Sequence[Case],
    scored: Sequence[Case],
    device: Device,
    folder: Path,
    clock: Clock,
) -> Trial:
    """Train as the plan says until the clock has run out, then segment the other cases.

    Args:
        plan: to follow.
        dataset: that the cases are of.
        learnt: cases to learn from.
        scored: cases to score, whole.
        device: to train on.
        folder: new; receives what a training leaves.
        clock: of this training alone.

    Raises:
        ConfigError: the time was over before the first step.
        SegError: the training failed.
    """
    prepared = []
    for case in learnt:
        image, mask = dataset.read(case)
        objects = dataset.read_objects(case, image, mask) if plan.instances != "none" else None
        place = folder / "cases" / case.name
        prepare_case(image, mask, plan, place, objects, len(dataset.classes))
        prepared.append(open_case(place))
    trained = train(plan, prepared, dataset, device, folder, clock)
    network = trained.network.to(device.kind)
    return Trial(plan, trained.steps, tuple(_dice(network, plan, dataset, case) for case in scored))


def _dice(network: SegmentationNetwork, plan: Plan, dataset: Dataset, case: Case) -> float:
    image, labels = on_the_network_s_grid(*dataset.read(case), plan)
    logits = torch.from_numpy(logits_of(network, image, plan.patch))[None]
    truth = torch.from_numpy(labels.astype(np.int64))[None]
    return float(PooledDice(dataset.legend)(class_logits(logits, dataset.legend, plan), truth))


def logits_of(
    network: SegmentationNetwork, image: Float32[np.ndarray, "c *grid"], patch: Sequence[int]
) -> Float32[np.ndarray, "k *grid"]:
    """Of a prepared image that is no smaller than a patch, window by window, blended."""
    device = next(network.parameters()).device
    weights = gaussian_weights(tuple(patch))
    starts = [window_starts(n, p, OVERLAP) for n, p in zip(image.shape[1:], patch, strict=True)]
    total = np.zeros(image.shape[1:], np.float32)
    summed: np.ndarray | None = None
    for corner in product(*starts):
        at = tuple(slice(start, start + size) for start, size in zip(corner, patch, strict=True))
        window = torch.from_numpy(np.ascontiguousarray(image[:, *at])[None]).to(device)
        with torch.inference_mode():
            logits = network(window)[0].float().cpu().numpy()
        if summed is None:
            summed = np.zeros((len(logits), *total.shape), np.float32)
        summed[:, *at] += weights * logits
        total[at] += weights
    assert summed is not None  # there is one window at least
    return np.asarray(summed / total)
