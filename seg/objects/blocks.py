"""Objects of images of any size, decoded block by block: the very ones that all at once gives."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod

import numpy as np
from jaxtyping import Int32, Int64, UInt8, UInt32

from seg.errors import ImageTooLargeError
from seg.images.storage.file_backed import let_go
from seg.objects.flooding import Flooded, SeedRule, flooded

BLOCK = {2: 1024, 3: 128}
"""Edge in voxels, by number of dimensions."""

MOST = 2**28
"""Voxels that are looked at at once, in some thirty bytes each, where an object is that large."""

Box = tuple[slice, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Evidence:
    """What is known of each voxel of an image; the arrays may lie in files."""

    classes: UInt8[np.ndarray, "*spatial"]
    """Class indices."""
    heights: UInt8[np.ndarray, "*spatial"]
    """How deep a voxel lies in its object."""


@dataclass(frozen=True, eq=False, slots=True)
class Decoded:
    """Objects of a whole image; their labels are in an array."""

    classes: UInt8[np.ndarray, " n"]
    """Class index of each object, label 1 first."""
    first: Int64[np.ndarray, " n"]
    """Index of its first voxel in the image, which rises from label to label."""
    again: int = 0
    """How often a block had to be decoded with a larger halo, which may have served others too."""
    unsplit: int = field(default=0, kw_only=True)
    """Objects that were too large for a look at their shape."""


@dataclass(frozen=True, eq=False, slots=True)
class DecodedBlocks(Decoded):
    """Objects of the first blocks of an image, numbered in the order in which they were found."""

    blocks: int = 0


class Journal:
    """Keeps how far a decoding is; this one keeps nothing."""

    def resumed(self) -> DecodedBlocks | None:
        """Where an earlier run stopped, whose labels are in the array; None begins anew."""
        return None

    def took(self, blocks: int, classes: Sequence[int], first: Collection[int], again: int) -> None:
        """So many blocks are done; the objects found in them, as ``DecodedBlocks`` has them."""

    def ends(self) -> None:
        """All blocks are done; what happens to the labels now cannot be gone on with."""


def decode(
    evidence: Evidence,
    rules: Mapping[int, SeedRule],
    into: UInt32[np.ndarray, "*spatial"],
    *,
    block: int | Sequence[int] | None = None,
    halo: int = 64,
    journal: Journal | None = None,
) -> Decoded:
    """Find all objects, and write their labels.

    A block is looked at with a halo around it. Where what lies outside could still change what is
    in the block, it is decoded again with twice the halo, so the labels depend neither on the
    blocks nor on the halo.

    Args:
        evidence: of the image.
        rules: by class index.
        into: receives labels: 0 for none, objects from 1 in the order of their first voxels.
        block: edge in voxels, or one number an axis; None for what is usual.
        halo: in voxels; about two diameters of an object are seldom too few.
        journal: is told of each block, and tells where an earlier run stopped.

    Raises:
        ImageTooLargeError: an object is larger than what can be looked at at once.
    """
    journal = journal or Journal()
    shape = evidence.classes.shape
    edges = (block or BLOCK[len(shape)],) * len(shape) if not isinstance(block, Sequence) else block
    numbers: dict[int, int] = {}
    classes: list[int] = []
    again = 0
    boxes = list(blocks_of(shape, edges))
    done, start = journal.resumed(), 0
    if done is not None:
        numbers = {first: number for number, first in enumerate(done.first.tolist(), start=1)}
        classes, again, start = done.classes.tolist(), done.again, done.blocks
    seen: _Seen | None = None
    for place, box in enumerate(boxes[start:], start=start + 1):
        if seen is None or not seen.settles(box):
            seen, tries = _settled(evidence, rules, box, halo)
            again += tries > 0
        part, origin = seen.part, seen.origin
        labels = seen.labels_of(box)
        table = np.zeros(len(part.classes) + 1, np.uint32)
        firsts = _in_image(part.first, part.labels.shape, origin, shape)
        for label in np.unique(labels[labels > 0]).tolist():
            first = int(firsts[label - 1])
            if first not in numbers:
                numbers[first] = len(numbers) + 1
                classes.append(int(part.classes[label - 1]))
            table[label] = numbers[first]
        into[box] = table[labels]
        let_go(evidence.classes, evidence.heights, into)
        journal.took(place, classes, numbers, again)
    journal.ends()
    found = np.array(list(numbers), np.int64)
    order = np.argsort(found)
    if (order != np.arange(len(order))).any():
        _renumber(into, boxes, order)
    return Decoded(np.array(classes, np.uint8)[order], found[order], again)


def blocks_of(shape: Sequence[int], edges: Sequence[int]) -> Iterator[Box]:
    """Boxes that cover an image, in raster order."""
    starts = (range(0, size, edge) for size, edge in zip(shape, edges, strict=True))
    for at in product(*starts):
        yield tuple(
            slice(start, min(start + edge, size))
            for start, edge, size in zip(at, edges, shape, strict=True)
        )


@dataclass(frozen=True, eq=False, slots=True)
class _Seen:
    """A part of an image that was decoded."""

    part: Flooded
    around: Box

    @property
    def origin(self) -> tuple[int, ...]:
        """Where it begins."""
        return tuple(side.start for side in self.around)

    def labels_of(self, box: Box) -> Int32[np.ndarray, "*box"]:
        """Of a box within it."""
        return self.part.labels[
            tuple(
                slice(side.start - at, side.stop - at)
                for side, at in zip(box, self.origin, strict=True)
            )
        ]

    def settles(self, box: Box) -> bool:
        """Whether all in a box is as in the whole image."""
        if any(
            inner.start < outer.start or inner.stop > outer.stop
            for inner, outer in zip(box, self.around, strict=True)
        ):
            return False
        labels = np.unique(self.labels_of(box))
        return bool(self.part.complete[labels[labels > 0] - 1].all()) and not (labels < 0).any()


def _settled(
    evidence: Evidence, rules: Mapping[int, SeedRule], box: Box, halo: int
) -> tuple[_Seen, int]:
    """A block with as much around it as settles what is in it, and how often it was enlarged."""
    tries = 0
    while True:
        around = tuple(
            slice(max(0, side.start - halo), min(size, side.stop + halo))
            for side, size in zip(box, evidence.classes.shape, strict=True)
        )
        if tries and prod(side.stop - side.start for side in around) > MOST:
            raise ImageTooLargeError(
                f"an object reaches over more than {MOST // 10**6} million pixels of the image, "
                "too many to be told from others; segment a part of it, or at a coarser resolution"
            )
        sides = [
            (side.start > 0, side.stop < size)
            for side, size in zip(around, evidence.classes.shape, strict=True)
        ]
        part = flooded(evidence.classes[around], evidence.heights[around], rules, sides)
        seen = _Seen(part, around)
        if seen.settles(box):
            return seen, tries
        halo = max(1, 2 * halo)
        tries += 1


def _in_image(
    first: Int64[np.ndarray, " n"],
    part: Sequence[int],
    origin: Sequence[int],
    shape: Sequence[int],
) -> Int64[np.ndarray, " n"]:
    """Indices in a part as indices in the image."""
    places = np.unravel_index(first, part)
    moved = tuple(place + at for place, at in zip(places, origin, strict=True))
    return np.asarray(np.ravel_multi_index(moved, tuple(shape)), np.int64)


def _renumber(
    into: UInt32[np.ndarray, "*spatial"], boxes: Sequence[Box], order: Int64[np.ndarray, " n"]
) -> None:
    new = np.zeros(len(order) + 1, np.uint32)
    new[order + 1] = np.arange(1, len(order) + 1, dtype=np.uint32)
    for box in boxes:
        into[box] = new[into[box]]
        let_go(into)
