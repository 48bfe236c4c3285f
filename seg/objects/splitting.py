"""Objects that touch, split by their shape.

For models that know classes of voxels only, and for what another has left in one.

Each object that hangs together is looked at by itself: its holes are filled, the distance to its
outline is a landscape with a hill for each convex part, and hills that a narrow enough neck parts
are objects of their own. Hills are compared by ratios, so large and small objects are split alike.
Letters: ``n`` objects.

Source: the distance-transform watershed with h-maxima as markers, Soille, Morphological Image
Analysis (2003), section 9.2; taken of logarithms, so that h is a ratio, is ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import log, prod

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64, UInt32
from scipy import ndimage

from seg.images.storage.file_backed import bands, let_go
from seg.model_package import ModelCard, SplitRule, Splitting
from seg.objects.blocks import Decoded
from seg.sentences import Sentence

USUAL = SplitRule(core=2.0)
"""In voxels, where a package has no values of its own."""
NO_VALUES = Sentence(
    "the model was exported without values for splitting: usual ones split its objects, which "
    "were fitted on no data",
    "split_by_usual_values",
)
NOTHING_TO_SPLIT = Sentence(
    "the training had too few objects of any class to learn how they are split: what hangs "
    "together is one object",
    "nothing_to_split",
)
LARGEST = 2**26
"""Voxels of the box around an object; a larger one stays whole."""
ROWS = 2**21
"""Voxels that are looked at at once."""

Box = tuple[slice, ...]


@dataclass(frozen=True, slots=True)
class Shaping:
    """A rule, and the scale on which shapes are measured."""

    rule: SplitRule
    edges: tuple[float, ...]
    """Of a voxel, in the rule's unit."""

    @property
    def smallest(self) -> int:
        """Voxels of the smallest object."""
        return max(1, round(self.rule.smallest / prod(self.edges)))


def shapings(
    card: ModelCard, names: Mapping[int, str], spacing: Sequence[float] | None, *, asked: bool
) -> dict[int, Shaping]:
    """By class index, how objects of an image are split; classes without a rule are missing.

    Args:
        card: of the model.
        names: of the classes whose objects are looked for, by index.
        spacing: of the image, in mm; None is that of the network.
        asked: split also where the model was not taught to tell objects apart.
    """
    splitting = card.instances.splitting if card.instances else None
    if splitting is None and asked:
        splitting = card.splitting or Splitting(
            unit="voxel", rules=dict.fromkeys(names.values(), USUAL)
        )
    if splitting is None:
        return {}
    target = card.input.preprocessing.spacing
    known = None if target is None or None in target else tuple(mm for mm in target if mm)
    edges = tuple(spacing or known or (1.0,) * card.input.dims)
    if splitting.unit == "voxel":
        edges = tuple(edge / min(edges) for edge in edges)
    return {
        index: Shaping(splitting.rules[name], edges)
        for index, name in names.items()
        if name in splitting.rules
    }


def too_large_to_split(count: int) -> str:
    """What is to be said of so many objects."""
    return Sentence(
        f"{count} {'object is' if count == 1 else 'objects are'} too large to be split by shape, "
        "and counted as one each: their boxes are of more than "
        f"{LARGEST // 10**6} million voxels; segment a part of the image, or at a coarser "
        "resolution",
        "too_large_to_split",
        count=count,
    )


def splitting_warning(card: ModelCard) -> str | None:
    """What is to be said of values that split."""
    if card.splitting is None:
        return NO_VALUES
    return None if card.splitting.rules else NOTHING_TO_SPLIT


def split(
    labels: UInt32[np.ndarray, "*spatial"], decoded: Decoded, ways: Mapping[int, Shaping]
) -> Decoded:
    """Split objects in place; they are numbered by their first voxels again.

    Args:
        labels: numbers of what hangs together; may lie in a file.
        decoded: classes of these objects.
        ways: by class index; objects of other classes stay as they are.
    """
    count = len(decoded.classes)
    classes = decoded.classes.tolist()
    first = decoded.first.tolist()
    is_kept = [True] * count
    sizes = _sizes(labels, count)
    unsplit = 0
    for number, box in enumerate(boxes_of(labels, count), start=1):
        way = ways.get(classes[number - 1])
        if way is None:
            continue
        if sizes[number - 1] < way.smallest:
            is_kept[number - 1] = False
            continue
        around = _with_margin(box, labels.shape)
        if prod(side.stop - side.start for side in around) > LARGEST:
            unsplit += 1
            continue
        here = labels[around]
        inside = here == number
        filled = np.asarray(ndimage.binary_fill_holes(inside))
        parts = parts_of(filled, way)
        # what lies in a hole, like a nucleus in its cytoplasm, stays what it is
        parts[(here > 0) & ~inside] = 0
        there = np.unique(parts[parts > 0])
        parts = np.searchsorted(there, parts, "right").astype(np.int32)
        new = np.where(parts > 1, len(classes) + parts - 1, number).astype(np.uint32)
        labels[around] = np.where(parts > 0, new, here)
        more = len(there) - 1
        starts = _first_voxels(parts, around, labels.shape)
        first[number - 1 : number] = starts[:1]
        first += starts[1:]
        classes += [classes[number - 1]] * more
        is_kept += [True] * more
        let_go(labels)
    found = Decoded(
        np.array(classes, np.uint8), np.array(first, np.int64), decoded.again, unsplit=unsplit
    )
    return _numbered(labels, found, np.array(is_kept, bool))


def parts_of(inside: Bool[np.ndarray, "*box"], way: Shaping) -> Int32[np.ndarray, "*box"]:
    """Numbers of the parts of one object, from 1."""
    from skimage.morphology import local_maxima, reconstruction
    from skimage.segmentation import watershed

    whole = inside.astype(np.int32)
    if inside.all() or inside.sum() < 2 * way.smallest:
        return whole
    depth: Float64[np.ndarray, "*box"] = ndimage.distance_transform_edt(inside, way.edges)
    lowest = float(depth[inside].min())
    hills = np.log(np.where(inside, depth, lowest / 2))
    # hills lose their tops down to the neck; what stands out then is one object each
    levelled = reconstruction(hills + log(way.rule.neck), hills)
    tops = local_maxima(levelled) & inside
    full = np.ones((3,) * inside.ndim)
    seeds, count = ndimage.label(tops, full)
    deepest = ndimage.maximum(depth, seeds, np.arange(count + 1))
    tops &= deepest[seeds] >= way.rule.core
    while True:
        seeds, count = ndimage.label(tops, full)
        if count < 2:
            return whole
        parts: Int32[np.ndarray, "*box"] = watershed(-depth, seeds, mask=inside)
        sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
        small = np.flatnonzero(sizes < way.smallest) + 1
        if not len(small):
            return parts
        # the smallest goes to its neighbours; then the others are looked at again
        tops &= seeds != int(np.argmin(sizes)) + 1


def split_labels(
    labels: Int32[np.ndarray, "*spatial"], way: Shaping
) -> Int32[np.ndarray, "*spatial"]:
    """Objects of one class, from those that may hang together."""
    numbers, first = np.unique(labels, return_index=True)
    there = numbers > 0
    compact = np.searchsorted(numbers[there], labels, "right").astype(np.uint32)
    compact[labels == 0] = 0
    decoded = Decoded(np.ones(int(there.sum()), np.uint8), first[there].astype(np.int64))
    split(compact, decoded, {1: way})
    return compact.astype(np.int32)


def boxes_of(labels: UInt32[np.ndarray, "*spatial"], count: int) -> list[Box]:
    """Around each object, a band of the image in memory at a time."""
    low = np.full((count, labels.ndim), np.iinfo(np.int64).max)
    high = np.zeros((count, labels.ndim), np.int64)
    for rows in bands(ROWS, labels):
        band = np.asarray(labels[rows])
        there = np.unique(band)
        there = there[there > 0]
        table = np.zeros(count + 1, np.int32)
        table[there] = np.arange(1, len(there) + 1)
        for number, box in zip(there.tolist(), ndimage.find_objects(table[band]), strict=True):
            starts = np.array([side.start for side in box])
            stops = np.array([side.stop for side in box])
            starts[0] += rows.start
            stops[0] += rows.start
            low[number - 1] = np.minimum(low[number - 1], starts)
            high[number - 1] = np.maximum(high[number - 1], stops)
    return [
        tuple(slice(int(a), int(b)) for a, b in zip(starts, stops, strict=True))
        for starts, stops in zip(low, high, strict=True)
    ]


def _sizes(labels: UInt32[np.ndarray, "*spatial"], count: int) -> Int64[np.ndarray, " n"]:
    sizes = np.zeros(count + 1, np.int64)
    for rows in bands(ROWS, labels):
        sizes += np.bincount(np.asarray(labels[rows]).reshape(-1), minlength=count + 1)
    return sizes[1:]


def _with_margin(box: Box, shape: Sequence[int]) -> Box:
    """The image's edge is no outline, so there is no margin behind it."""
    return tuple(
        slice(max(0, side.start - 1), min(size, side.stop + 1))
        for side, size in zip(box, shape, strict=True)
    )


def _first_voxels(parts: Int32[np.ndarray, "*box"], box: Box, shape: Sequence[int]) -> list[int]:
    """Index in the image of the first voxel of each part."""
    flat = parts.reshape(-1)
    where = np.flatnonzero(flat)
    _, at = np.unique(flat[where], return_index=True)
    places = np.unravel_index(where[at], parts.shape)
    moved = tuple(place + side.start for place, side in zip(places, box, strict=True))
    return [int(each) for each in np.ravel_multi_index(moved, tuple(shape))]


def _numbered(
    labels: UInt32[np.ndarray, "*spatial"], decoded: Decoded, kept: Bool[np.ndarray, " n"]
) -> Decoded:
    """Only those that are kept, by their first voxels."""
    numbers = np.flatnonzero(kept)
    order = numbers[np.argsort(decoded.first[numbers])]
    table = np.zeros(len(kept) + 1, np.uint32)
    table[order + 1] = np.arange(1, len(order) + 1)
    for rows in bands(ROWS, labels):
        labels[rows] = table[labels[rows]]
    return replace(decoded, classes=decoded.classes[order], first=decoded.first[order])
