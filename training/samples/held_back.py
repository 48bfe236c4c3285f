"""Patches of cases that no training sees. Letters: ``b`` patches, ``c`` channels."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Float32, UInt8

from seg.inference.tiling.sliding_window import window_starts
from training.dataset import Case, Dataset
from training.dataset.legend import IGNORE
from training.run.plan import Plan
from training.samples.prepared_cases import on_the_network_s_grid


@dataclass(frozen=True, eq=False)
class HeldBack:
    """Patches as the network sees them, and their labels."""

    images: Float32[np.ndarray, "b c *patch"]
    labels: UInt8[np.ndarray, "b *patch"]


def held_back_patches(dataset: Dataset, plan: Plan, count: int) -> HeldBack:
    """Of some held-back cases the window that shows most classes, then most foreground."""
    return richest_windows(dataset, dataset.test or dataset.train, plan, count)


def richest_windows(dataset: Dataset, cases: Sequence[Case], plan: Plan, count: int) -> HeldBack:
    """Of some of the cases the window that shows most classes, then most foreground."""
    chosen = [cases[i * len(cases) // count] for i in range(count)]
    pairs = [_richest_window(dataset, case, plan, turn) for turn, case in enumerate(chosen)]
    images, labels = zip(*pairs, strict=True)
    return HeldBack(np.stack(images), np.stack(labels))


def _richest_window(
    dataset: Dataset, case: Case, plan: Plan, turn: int
) -> tuple[Float32[np.ndarray, "c *patch"], UInt8[np.ndarray, "*patch"]]:
    array, labels = on_the_network_s_grid(*dataset.read(case), plan)
    starts = product(
        *(window_starts(n, p, overlap=0.0) for n, p in zip(labels.shape, plan.patch, strict=True))
    )
    windows = [tuple(slice(s, s + p) for s, p in zip(at, plan.patch, strict=True)) for at in starts]
    # where one case is drawn several times, each turn takes another of its windows
    ranked = sorted(windows, key=lambda at: _richness(labels[at]), reverse=True)
    at = ranked[turn % len(ranked)]
    return np.ascontiguousarray(array[:, *at]), np.ascontiguousarray(labels[at])


def _richness(labels: UInt8[np.ndarray, "*patch"]) -> tuple[int, int]:
    shown = labels[labels != IGNORE]
    return len(np.unique(shown)), int(np.count_nonzero(shown))
