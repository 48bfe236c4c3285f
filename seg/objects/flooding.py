"""From a map of heights to objects: seeds, and what floods from them.

A seed is a connected part of a class that lies high enough: the core of one object. From all seeds
at once the rest of the class is flooded, level by level downwards and within a level step by step,
so that floods meet in the valleys between objects. Where two arrive in the same step, the seed
wins whose first voxel comes first. What no flood reaches had no seed, and stays whole.

Of a part of an image the same can be said as of the whole, or that it can't be said: the voxels at
the part's open sides are a flood of their own, which stands for all that may come from outside. It
starts as early as any could and wins every tie, so a voxel that another flood takes is that seed's
in the whole image too, and an object that does not touch it is complete.

Source: marker-controlled watershed, Meyer & Beucher, Journal of Visual Communication 1 (1990), on
levels; the rule for ties and the flood from outside are ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int32, Int64, UInt8
from scipy import ndimage

LEVELS = 8
"""From a seed's height down to 0."""
OUTSIDE = 1
"""Label of the flood from outside, before all others."""
_NOBODY = np.int32(2**31 - 1)

OpenSides = Sequence[tuple[bool, bool]]
"""For each axis whether the image goes on before the part, and behind it."""


@dataclass(frozen=True, slots=True)
class SeedRule:
    """What makes a seed, and an object, of one class."""

    height: int
    """A seed's voxels are at least as high, in 1 to 255."""
    smallest_seed: int = 1
    """Smaller ones, in voxels, are none."""
    smallest: int = 1
    """Smaller objects, in voxels, are left out."""


@dataclass(frozen=True, eq=False, slots=True)
class Flooded:
    """Objects of a part of an image."""

    labels: Int32[np.ndarray, "*part"]
    """Numbered from 1 in the order of their first voxels; 0 is none, -1 what can't be said."""
    complete: Bool[np.ndarray, " n"]
    """Whether an object is as it is in the whole image."""
    classes: UInt8[np.ndarray, " n"]
    first: Int64[np.ndarray, " n"]
    """Index of each object's first voxel in the part."""


def flooded(
    classes: UInt8[np.ndarray, "*part"],
    heights: UInt8[np.ndarray, "*part"],
    rules: Mapping[int, SeedRule],
    open_sides: OpenSides | None = None,
) -> Flooded:
    """The objects of all classes that have a rule.

    Args:
        classes: class index of each voxel.
        heights: how deep a voxel lies in its object, 255 at most.
        rules: by class index.
        open_sides: of a part; None for a whole image.
    """
    total = np.zeros(classes.shape, np.int32)
    count = 0
    unsure: list[Bool[np.ndarray, " n"]] = []
    of_class: list[int] = []
    for index, rule in rules.items():
        inside = classes == index
        box = _box(inside)
        if box is None:
            continue
        sides = None if open_sides is None else _sides_of(box, classes.shape, open_sides)
        labels, incomplete = _of_one_class(inside[box], heights[box], rule, sides)
        found = len(incomplete)
        part = total[box]
        part[labels > 0] = labels[labels > 0] + count
        part[labels < 0] = -1
        count += found
        unsure.append(incomplete)
        of_class += [index] * found
    if not count:
        nothing = np.zeros(0, np.int64)
        return Flooded(total, nothing.astype(bool), nothing.astype(np.uint8), nothing)
    return _in_order(total, ~np.concatenate(unsure), np.array(of_class, np.uint8))


def components(inside: Bool[np.ndarray, "*spatial"]) -> Int32[np.ndarray, "*spatial"]:
    """What hangs together by sides, numbered from 1."""
    labels: Int32[np.ndarray, "*spatial"] = ndimage.label(inside)[0]
    return labels


def _box(inside: Bool[np.ndarray, "*part"]) -> tuple[slice, ...] | None:
    """Around all that is inside."""
    sides = []
    for axis in range(inside.ndim):
        others = tuple(each for each in range(inside.ndim) if each != axis)
        where = np.flatnonzero(inside.any(axis=others))
        if not len(where):
            return None
        sides.append(slice(int(where[0]), int(where[-1]) + 1))
    return tuple(sides)


def _sides_of(
    box: Sequence[slice], shape: Sequence[int], sides: OpenSides
) -> list[tuple[bool, bool]]:
    return [
        (before and side.start == 0, behind and side.stop == size)
        for side, size, (before, behind) in zip(box, shape, sides, strict=True)
    ]


def _of_one_class(
    inside: Bool[np.ndarray, "*part"],
    heights: UInt8[np.ndarray, "*part"],
    rule: SeedRule,
    sides: OpenSides | None,
) -> tuple[Int32[np.ndarray, "*part"], Bool[np.ndarray, " n"]]:
    """Labels from 1, -1 for what can't be said; which of them are incomplete."""
    edge = _edge(inside, sides)
    labels = _seeds(inside & (heights >= rule.height), rule.smallest_seed, edge)
    flood = _Flood(labels, inside)
    for level in _levels(rule.height):
        open_ = inside & (heights >= level)
        if edge is not None:
            flood.start(edge & open_, OUTSIDE)
        flood.run(open_)
    labels = flood.labels
    last = int(labels.max())
    without, more = ndimage.label(inside & (labels == 0))
    labels = np.where(without > 0, without + max(last, OUTSIDE), labels)
    count = max(last, OUTSIDE) + more
    incomplete = np.zeros(count + 1, bool)
    if edge is not None:
        incomplete[_touching(labels)] = True
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    kept = (sizes > 0) & ((sizes >= rule.smallest) | incomplete)
    kept[: OUTSIDE + 1] = False
    new = np.zeros(count + 1, np.int32)
    new[kept] = np.arange(1, kept.sum() + 1)
    new[OUTSIDE] = -1
    return new[labels], incomplete[kept]


def _edge(
    inside: Bool[np.ndarray, "*part"], sides: OpenSides | None
) -> Bool[np.ndarray, "*part"] | None:
    if sides is None or not any(map(any, sides)):
        return None
    edge = np.zeros_like(inside)
    for axis, (before, behind) in enumerate(sides):
        along = np.moveaxis(edge, axis, 0)
        along[0] |= before
        along[-1] |= behind
    return np.asarray(edge & inside)


def _seeds(
    high: Bool[np.ndarray, "*part"], smallest: int, edge: Bool[np.ndarray, "*part"] | None
) -> Int32[np.ndarray, "*part"]:
    """Numbered from 2 in the order of their first voxels; those cut at the edge are ``OUTSIDE``."""
    parts, count = ndimage.label(high)
    kept = np.bincount(parts.ravel(), minlength=count + 1) >= smallest
    kept[0] = False
    cut = np.unique(parts[edge & high]) if edge is not None else np.zeros(0, int)
    kept[cut] = False
    new = np.zeros(count + 1, np.int32)
    new[kept] = np.arange(OUTSIDE + 1, OUTSIDE + 1 + kept.sum())
    new[cut] = OUTSIDE
    return new[parts]


def _levels(height: int) -> list[int]:
    return sorted({height * step // LEVELS for step in range(LEVELS)}, reverse=True)


def _touching(labels: Int32[np.ndarray, "*part"]) -> Int32[np.ndarray, " n"]:
    """Labels beside a voxel of the flood from outside."""
    found = [np.zeros(0, np.int32)]
    for axis in range(labels.ndim):
        along = np.moveaxis(labels, axis, 0)
        for here, there in ((along[1:], along[:-1]), (along[:-1], along[1:])):
            found.append(np.unique(here[there == OUTSIDE]))
    return np.concatenate(found)


class _Flood:
    """Labels that grow into open voxels, all by one step at a time."""

    def __init__(
        self, seeds: Int32[np.ndarray, "*part"], inside: Bool[np.ndarray, "*part"]
    ) -> None:
        # a border of 1, so that every voxel has all its neighbours
        self._padded = np.pad(seeds, 1)
        self._inner = (slice(1, -1),) * seeds.ndim
        strides = np.cumprod((1, *self._padded.shape[:0:-1]))
        self._near = np.concatenate([strides, -strides])
        self._flat = self._padded.reshape(-1)
        self._is_open = np.zeros(self._padded.shape, bool)

    @property
    def labels(self) -> Int32[np.ndarray, "*part"]:
        """As they are now."""
        return self._padded[self._inner]

    def start(self, where: Bool[np.ndarray, "*part"], label: int) -> None:
        """Give a label to voxels that have none."""
        labels = self._padded[self._inner]
        labels[where & (labels == 0)] = label

    def run(self, is_open: Bool[np.ndarray, "*part"]) -> None:
        """Until no open voxel beside a label is left."""
        self._is_open[self._inner] = is_open
        may = self._is_open.reshape(-1)
        free = np.flatnonzero(may & (self._flat == 0))
        if not len(free):
            return
        near = free[(self._flat[free[:, None] + self._near] > 0).any(axis=1)]
        while len(near):
            around = near[:, None] + self._near
            labels = self._flat[around]
            self._flat[near] = np.where(labels > 0, labels, _NOBODY).min(axis=1)
            further = around.reshape(-1)
            near = np.unique(further[may[further] & (self._flat[further] == 0)])


def _in_order(
    labels: Int32[np.ndarray, "*part"],
    complete: Bool[np.ndarray, " n"],
    classes: UInt8[np.ndarray, " n"],
) -> Flooded:
    """Numbered in the order of first voxels, whatever the class."""
    flat = labels.reshape(-1)
    where = np.flatnonzero(flat > 0)
    numbers, at = np.unique(flat[where], return_index=True)
    first = where[at]
    order = np.argsort(first)
    new = np.zeros(len(complete) + 2, np.int32)
    new[numbers[order]] = np.arange(1, len(order) + 1)
    new[-1] = -1
    rank = numbers[order] - 1
    return Flooded(new[labels], complete[rank], classes[rank], first[order].astype(np.int64))
