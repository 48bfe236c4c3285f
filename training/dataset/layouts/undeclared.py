"""What the numbers in masks look like where nobody said what they are."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int, Integer
from scipy import ndimage, stats

from training.dataset.dataset_yaml import CARD
from training.dataset.findings.finding import Finding
from training.dataset.findings.objects import compacted
from training.dataset.layouts.background import contact_counts, doubtful_background
from training.dataset.layouts.odd_masks import (
    FEWEST_OBJECTS,
    SMALL,
    Values,
    listed,
    odd_masks,
    two_ways,
)

LOOKED_AT = 24
"""Masks that are looked into; all are asked for their values."""
ONE_PIECE = 0.9
"""Share of numbers that are one piece in their masks, from which they may number objects."""
SAME_SIZE_P = 0.01
"""Organs of a kind have a size of their own, numbers of objects do not (analysis of variance)."""
THIN = 0.05
"""Share of pixels with nothing but their like around them, below which all are rims."""
IGNORED = 255
MOST_OF_A_BYTE = 255
"""Larger numbers are hardly classes."""
FEW_VALUES = 65_535
"""Up to here a list with a place for every value costs nothing."""
STEPS = 0.9
"""Share of a value's pixels with a lower and a higher value beside them, of interpolated edges."""
FEWEST_STEPS = 2
"""A border of one value between a class and its background is a class."""


def doubts(masks: Sequence[Values], shapes: "Shapes") -> Iterator[Finding]:
    """Findings where the values are hardly one class each, and what to write down instead."""
    foreground = sorted({value for mask in masks for value in mask.foreground})
    small = [mask for mask in masks if mask.foreground and mask.foreground[-1] <= SMALL]
    large = [mask for mask in masks if mask.foreground and mask.foreground[0] >= 2 * SMALL]
    if small and large and len(small) + len(large) == sum(bool(m.foreground) for m in masks):
        yield _two_scales(small, large)
        return
    if foreground and foreground[-1] >= 2 * SMALL and (found := list(two_ways(masks))):
        yield from found
        return
    beside = [value for value in foreground if value != IGNORED]
    if IGNORED in foreground and beside and beside[-1] <= 2 * SMALL:
        yield _ignored(next(mask for mask in masks if IGNORED in mask.values), beside)
        return
    if len(foreground) > 1 and foreground[-1] > MOST_OF_A_BYTE:
        yield _large(masks, foreground)
        return
    if of_background := list(doubtful_background(masks, shapes.contacts)):
        yield from of_background
        return
    if len(foreground) >= 2 and foreground[-1] >= 2 * SMALL and shapes.are_rims():
        yield _smoothed(masks[0], foreground)
    elif steps := shapes.steps():
        yield _interpolated(masks[0], steps)
    elif shapes.are_objects():
        yield _objects(masks[0], foreground)
    else:
        yield from odd_masks(masks)


def _two_scales(small: Sequence[Values], large: Sequence[Values]) -> Finding:
    few, many = (listed(sorted({v for m in each for v in m.foreground})) for each in (small, large))
    return Finding(
        "error",
        str(large[0].case.mask),
        f"{len(small)} masks hold the values 0 and {few}, {len(large)} hold 0 and {many}, and none "
        "holds both: the same class is written in two ways",
        f"save all masks in one way; or, if these are classes of their own, list them in {CARD}",
    )


def _ignored(mask: Values, beside: Sequence[int]) -> Finding:
    return Finding(
        "warning",
        str(mask.case.mask),
        f"the value 255 stands beside the values {listed(beside)}; it often marks what is to be "
        "ignored, such as rims of objects, and is taken for a class here",
        f"write ignore: 255 into {CARD}; or, if it is a class, list the classes there",
    )


def _smoothed(mask: Values, foreground: Sequence[int]) -> Finding:
    return Finding(
        "warning",
        str(mask.case.mask),
        f"the values {listed(foreground[:-1])} are nothing but rims around {foreground[-1]}, like "
        "edges that were smoothed when a mask was resized, and are taken for classes here",
        "resize masks without interpolation (nearest), or threshold them; or, if these are "
        f"classes, list them in {CARD}",
    )


def _interpolated(mask: Values, steps: Sequence[int]) -> Finding:
    return Finding(
        "warning",
        str(mask.case.mask),
        f"the values {listed(steps)} stand nowhere but between lower and higher ones, like edges "
        "that were interpolated when a mask was resized, and are taken for classes here",
        "resize masks without interpolation (nearest); or, if these are classes, list them in "
        f"{CARD}",
    )


def _large(masks: Sequence[Values], foreground: Sequence[int]) -> Finding:
    mask = max(masks, key=lambda each: max(each.values, default=0))
    return Finding(
        "warning",
        str(mask.case.mask),
        f"the masks hold values as large as {foreground[-1]}, which look like numbers of objects "
        "or packed colors; they are taken for classes here",
        f"write masks: instances into {CARD} where they number objects; or list the classes there",
    )


def _objects(mask: Values, foreground: Sequence[int]) -> Finding:
    return Finding(
        "warning",
        str(mask.case.mask),
        f"the values 1 to {foreground[-1]} look like numbers of objects (instances): each is one "
        "piece, and none has a size of its own; they are taken for classes here",
        f"write masks: instances into {CARD}; or, if these are classes, list them there",
    )


def _places(
    labels: Integer[np.ndarray, "*spatial"],
) -> Iterator[tuple[int, tuple[slice, ...] | None]]:
    """Values above 0 and where they lie; of large ones only those that are there."""
    if labels.max() <= FEW_VALUES:
        yield from enumerate(ndimage.find_objects(labels.astype(np.int32)), start=1)
        return
    values, compact = compacted(np.maximum(labels, 0))
    yield from zip(values[1:].tolist(), ndimage.find_objects(compact), strict=True)


def _by_value() -> Int[np.ndarray, " values"]:
    return np.zeros(MOST_OF_A_BYTE + 1, np.int64)


def _by_pair() -> Int[np.ndarray, "256 256"]:
    return np.zeros((MOST_OF_A_BYTE + 1,) * 2, np.int64)


@dataclass
class Shapes:
    """What is known of the pieces of each value."""

    masks: int = 0
    """That were looked into."""
    between: int = 0
    """Pixels above 0 and below the highest value of their mask."""
    inner: int = 0
    """Those of them that have none but such around them."""
    sizes: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    """By value, one logarithm a mask."""
    pieces: list[int] = field(default_factory=list)
    pixels: Int[np.ndarray, " values"] = field(default_factory=_by_value)
    """By value, of masks with none above ``MOST_OF_A_BYTE``: others are told without a look."""
    contacts: Int[np.ndarray, "256 256"] = field(default_factory=_by_pair)
    """How often two of those values lie side by side."""
    stepped: Int[np.ndarray, " values"] = field(default_factory=_by_value)
    """Those of them that have a lower and a higher value beside them."""

    def add(self, labels: Integer[np.ndarray, "*spatial"]) -> bool:
        """Look into one more mask, unless enough were looked into; is each value one piece?"""
        if self.masks == LOOKED_AT:
            return False
        self.masks += 1
        between = (labels > 0) & (labels < labels.max())
        inner = ndimage.binary_erosion(between, np.ones((3,) * labels.ndim, bool))
        self.between += int(between.sum())
        self.inner += int(inner.sum())
        if labels.max() > np.iinfo(np.int32).max:
            return False
        first = len(self.pieces)
        if labels.max() <= MOST_OF_A_BYTE:
            around = (3,) * labels.ndim
            is_step = (ndimage.minimum_filter(labels, around) < labels) & (
                ndimage.maximum_filter(labels, around) > labels
            )
            self.contacts += contact_counts(labels)
            self.pixels += np.bincount(labels.reshape(-1), minlength=len(self.pixels))
            self.stepped += np.bincount(labels[is_step], minlength=len(self.stepped))
        for number, place in _places(labels):
            if place is not None:
                region = labels[place] == number
                self.sizes[number].append(float(np.log(region.sum())))
                self.pieces.append(int(ndimage.label(region, np.ones((3,) * region.ndim, bool))[1]))
        return all(pieces == 1 for pieces in self.pieces[first:])

    def are_rims(self) -> bool:
        """What is between background and the highest value is thin everywhere."""
        return self.between > 0 and self.inner <= THIN * self.between

    def steps(self) -> list[int]:
        """Values that stand nowhere but between others; none where a single one does."""
        is_step = (self.pixels > 0) & (self.stepped >= STEPS * self.pixels)
        found: list[int] = np.flatnonzero(is_step).tolist()
        return found if len(found) >= FEWEST_STEPS else []

    def are_objects(self) -> bool:
        """The values number objects, as far as can be seen."""
        if len(self.sizes) < FEWEST_OBJECTS or max(self.sizes) > 2 * len(self.sizes):
            return False
        if np.mean(np.array(self.pieces) == 1) < ONE_PIECE:
            return False
        samples = [sizes for sizes in self.sizes.values() if len(sizes) > 1]
        if len(samples) < 2:  # nothing to compare, as in a single mask
            return len(self.sizes) > SMALL
        if all(np.ptp(sizes) == 0 for sizes in samples):
            return len({sizes[0] for sizes in samples}) == 1
        return bool(stats.f_oneway(*samples).pvalue > SAME_SIZE_P)
