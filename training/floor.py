"""The floor: what plain thresholding scores. A network that is not above it has learnt nothing.

Letters: ``c`` channels, ``k`` classes, ``r`` regions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Integer

from seg.images import ClassInfo, Image, Mask
from seg.metrics import confusion_matrix, dice_per_class, otsu_threshold
from training.dataset import Case, Dataset
from training.regions import regions

MOST_CASES = 12
"""Training cases that the rules are chosen on, spread over all of them."""


@dataclass(frozen=True)
class Rule:
    """All voxels on one side of a channel's Otsu threshold, found anew for every image."""

    channel: int
    above: bool


@dataclass(frozen=True)
class Thresholding:
    """For each region the rule that did best on training cases."""

    classes: tuple[ClassInfo, ...]
    rules: Mapping[str, Rule]

    def dice(self, image: Image, mask: Mask) -> dict[str, float]:
        """Dice of each region's rule on one case; NaN where rule and mask are both empty."""
        table = _dice_of_all_rules(image, mask, self.classes)
        return {
            region: float(table[row, rule.channel, int(rule.above)])
            for row, (region, rule) in enumerate(self.rules.items())
        }


def choose_thresholding(dataset: Dataset, cases: Sequence[Case]) -> Thresholding:
    """For each region the best of all channels, above and below their Otsu thresholds.

    Args:
        dataset: whose files are read, one case in memory at a time.
        cases: to choose on, at least one; never those that will be scored.

    Raises:
        DatasetError: a case cannot be read.
    """
    stride = -(-len(cases) // MOST_CASES)
    tables = np.stack(
        [_dice_of_all_rules(*dataset.read(case), dataset.classes) for case in cases[::stride]]
    )
    counted = np.isfinite(tables)
    mean = np.where(counted, tables, 0).sum(axis=0) / np.maximum(counted.sum(axis=0), 1)
    rules = {}
    for region, scores in zip(regions(dataset.classes), mean, strict=True):
        channel, above = divmod(int(scores.argmax()), 2)
        rules[region] = Rule(channel, bool(above))
    return Thresholding(dataset.classes, rules)


def _dice_of_all_rules(
    image: Image, mask: Mask, classes: Sequence[ClassInfo]
) -> Float64[np.ndarray, "r c 2"]:
    """Dice of each region with each channel, below (0) and above (1) its threshold."""
    found = regions(classes)
    table = np.empty((len(found), image.channels, 2))
    for index, channel in enumerate(image.array):
        above = channel > otsu_threshold(channel)
        table[:, index] = _dice_of_both_sides(above, mask.array, len(classes), found)
    return table


def _dice_of_both_sides(
    above: Bool[np.ndarray, "*spatial"],
    labels: Integer[np.ndarray, "*spatial"],
    num_classes: int,
    found: Mapping[str, tuple[int, ...]],
) -> Float64[np.ndarray, "r 2"]:
    # rows: classes of the reference; columns: below, above
    sides = confusion_matrix(above.view(np.uint8), labels, num_classes)[:, :2]
    table = np.empty((len(found), 2))
    for row, indices in enumerate(found.values()):
        inside = sides[list(indices)].sum(axis=0)
        outside = sides.sum(axis=0) - inside
        for side in (0, 1):
            agreement = np.array(
                [[outside[1 - side], outside[side]], [inside[1 - side], inside[side]]]
            )
            table[row, side] = dice_per_class(agreement)[1]
    return table
