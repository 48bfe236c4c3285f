"""The floor: what plain thresholding scores. A network that is not above it has learnt nothing.

Letters: ``c`` channels, ``l`` labels, ``r`` regions, ``t`` thresholds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64, Integer, Real
from skimage.filters import threshold_otsu

from seg.images import Image, Mask
from seg.metrics import confusion_matrix
from training.dataset import IGNORE, Case, Dataset, Legend
from training.evaluation.regions import regions

MOST_CASES = 12
"""Training cases that the rules are chosen on, spread over all of them."""
LEVELS = np.arange(1, 32) / 32
"""Thresholds that are tried beside Otsu's, as shares of an image's range of intensities."""
PERCENTILES = (0.5, 99.5)
"""Where that range begins and ends."""
SAMPLES = 2**20
"""Voxels that the percentiles are taken from."""


@dataclass(frozen=True)
class Rule:
    """All voxels on one side of a threshold in one channel.

    Source of Otsu's threshold: Otsu, A threshold selection method from gray-level histograms,
    IEEE Transactions on Systems, Man, and Cybernetics 9 (1979).
    """

    channel: int
    threshold: int
    """0: Otsu's, found anew for every image; from 1 on: ``LEVELS[threshold - 1]``."""
    above: bool


@dataclass(frozen=True)
class Thresholding:
    """For each region the rule that did best on training cases."""

    legend: Legend
    rules: Mapping[str, Rule]

    def dice(self, image: Image, mask: Mask) -> dict[str, float]:
        """Dice of each region's rule on one case; NaN where the mask has none of the region."""
        table = _dice_of_all_rules(image, mask, self.legend)
        return {
            region: float(table[row, rule.channel, rule.threshold, int(rule.above)])
            for row, (region, rule) in enumerate(self.rules.items())
        }


def choose_thresholding(dataset: Dataset, cases: Sequence[Case]) -> Thresholding:
    """For each region the best of all channels, thresholds and sides.

    Args:
        dataset: whose files are read, one case in memory at a time.
        cases: to choose on, at least one; never those that will be scored.

    Raises:
        DatasetError: a case cannot be read.
    """
    stride = -(-len(cases) // MOST_CASES)
    tables = np.stack(
        [_dice_of_all_rules(*dataset.read(case), dataset.legend) for case in cases[::stride]]
    )
    counted = np.isfinite(tables)
    mean = np.where(counted, tables, 0).sum(axis=0) / np.maximum(counted.sum(axis=0), 1)
    rules = {}
    for region, scores in zip(regions(dataset.legend), mean, strict=True):
        channel, threshold, above = np.unravel_index(int(scores.argmax()), scores.shape)
        rules[region] = Rule(int(channel), int(threshold), bool(above))
    return Thresholding(dataset.legend, rules)


def _dice_of_all_rules(image: Image, mask: Mask, legend: Legend) -> Float64[np.ndarray, "r c t 2"]:
    """Dice of each region with each channel and threshold, below (0) and above (1) it.

    NaN where the mask has none of the region: thresholding cannot say that something is absent,
    and a floor of zeros would flatter the network.
    """
    found = regions(legend).values()
    table = np.empty((len(found), image.channels, 1 + len(LEVELS), 2))
    annotated = mask.array != IGNORE if legend.ignores else ...
    labels = mask.array[annotated]
    for index, channel in enumerate(image.array):
        below, above = _voxels_on_both_sides(channel[annotated], labels, legend.num_labels)
        for row, region in enumerate(found):
            table[row, index] = _dice_of_both_sides(below, above, list(region.labels))
    return table


def _voxels_on_both_sides(
    channel: Real[np.ndarray, "*spatial"], labels: Integer[np.ndarray, "*spatial"], num_labels: int
) -> tuple[Int64[np.ndarray, "l t"], Int64[np.ndarray, "l t"]]:
    """Voxels of each label up to each threshold and above it, in one pass over the image."""
    thresholds = _thresholds(channel)
    order = np.argsort(thresholds)
    bins = np.searchsorted(thresholds[order], channel).astype(np.uint8)
    size = max(num_labels, len(thresholds) + 1)
    counts = confusion_matrix(bins, labels, size)[:num_labels, : len(thresholds) + 1]
    below = np.empty((num_labels, len(thresholds)), np.int64)
    below[:, order] = counts.cumsum(axis=1)[:, :-1]
    return below, counts.sum(axis=1, keepdims=True) - below


def _thresholds(channel: Real[np.ndarray, "*spatial"]) -> Float64[np.ndarray, " t"]:
    values = channel.reshape(-1)[:: 1 + channel.size // SAMPLES]
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, PERCENTILES) if finite.size else (0.0, 0.0)
    return np.array([_otsu(channel), *(low + LEVELS * (high - low))])


def _otsu(channel: Real[np.ndarray, "*spatial"]) -> float:
    """Otsu's threshold of what is finite; NaN where nothing is.

    As float64, so that the histogram has 256 bins whatever range of numbers an image spans.
    """
    finite = channel[np.isfinite(channel)].astype(np.float64)
    return float(threshold_otsu(finite)) if finite.size else float("nan")


def _dice_of_both_sides(
    below: Int64[np.ndarray, "l t"], above: Int64[np.ndarray, "l t"], region: Sequence[int]
) -> Float64[np.ndarray, "t 2"]:
    size = (below + above)[region].sum(axis=0)
    sides = []
    for selected in (below, above):
        total = selected.sum(axis=0) + size
        dice = np.full(len(total), np.nan)
        np.divide(2 * selected[region].sum(axis=0), total, out=dice, where=size > 0)
        sides.append(dice)
    return np.stack(sides, axis=1)
