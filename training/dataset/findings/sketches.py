"""Parts that two images share: crops, shifted copies and tiles that overlap.

A sketch is some of an image's bright points, each known by which of the voxels around it are
brighter than which. What is left of a point's surroundings in a crop says the same, wherever it
lies and whatever its brightness, contrast and type of number; noise, compression and another size
change it. Of two images that share a part many points lie equally far apart.

Sources: Calonder et al., BRIEF: binary robust independent elementary features, ECCV 2010 (what a
point is known by); Broder, On the resemblance and containment of documents, 1997 (points with the
smallest hashes stand for all, of a part as of the whole). Letters: ``n`` points.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int32, Int64, Real, UInt64
from scipy import ndimage

MOST_POINTS = 512
"""Of an image, 10 kB at most."""
REACH = 5
"""Voxels around a point that are looked at, in plane."""
BITS = 64
LEADING = 4
"""Comparisons that are the hash's first bits: of many points only those of which all are true need
the others."""
BAND = 2**22
"""Voxels that are looked at at once, of planes as large as slides."""
FEWEST_SHARED = 8
"""Points equally far apart from which on two images share a part.

Measured: any two frames of hela or of cho (films of the same cells), and any two regions of
scratch-assay, share 1 at most; a copy shifted by 40 pixels 480, a sixteenth of the frame 25.
"""
MOST_OWNERS = 64
"""Images that a point may be in: one in more is a pattern, not a place."""

_DRAWN = np.random.default_rng(0)
_PAIRS = _DRAWN.integers(-REACH, REACH + 1, (BITS, 2, 2))
_FACTORS = _DRAWN.integers(2**63, size=BITS - LEADING, dtype=np.uint64) | np.uint64(1)
_AROUND = np.ones((5, 5), bool)
_AROUND[2, 2] = False


class Sketch(NamedTuple):
    """Of an image, in the order of its hashes."""

    hashes: UInt64[np.ndarray, " n"]
    places: Int32[np.ndarray, "n dims"]


class SharedPart(NamedTuple):
    """Of two images."""

    first: int
    second: int
    """Places of the images in what was asked about."""
    share: float
    """Of the points that the image with the smaller part could share."""


def sketch_of(array: Real[np.ndarray, "c *spatial"]) -> Sketch:
    """Of all channels together; without points where nothing stands out, as in flat images."""
    dims = array.ndim - 1
    found = [Sketch(np.zeros(0, np.uint64), np.zeros((0, dims), np.int32))]
    is_full = False  # of points of which all leading comparisons are true
    height, width = array.shape[-2:]
    rows = max(1, BAND // width)
    for *at, first in np.ndindex(*array.shape[1:-2], -(-height // rows)):
        start = max(0, first * rows - REACH)
        band = array[:, *at, start : (first + 1) * rows + REACH].sum(axis=0)
        hashes, places = _points(band, is_full=is_full)
        offset = np.array([start, 0], np.int32)
        before = np.broadcast_to(np.array(at, np.int32), (len(places), len(at)))
        found.append(Sketch(hashes, np.concatenate([before, places + offset], axis=1)))
        if sum(len(each.hashes) for each in found) > 4 * MOST_POINTS:
            found = [_smallest(found)]
            few = found[0].hashes
            is_full = len(few) == MOST_POINTS and int(few[-1]) < 1 << 64 - LEADING
    return _smallest(found)


def shared_parts(sketches: Sequence[Sketch]) -> Iterator[SharedPart]:
    """Every pair of images that shares a part."""
    if not sketches:
        return
    owners: dict[tuple[int, int], int] = defaultdict(int)
    hashes = np.concatenate([each.hashes for each in sketches])
    images = np.repeat(np.arange(len(sketches)), [len(each.hashes) for each in sketches])
    order = np.lexsort((images, hashes))
    edges = np.flatnonzero(np.diff(hashes[order])) + 1
    for start, stop in zip([0, *edges.tolist()], [*edges.tolist(), len(order)], strict=True):
        if 2 <= stop - start <= MOST_OWNERS:
            for pair in combinations(images[order[start:stop]].tolist(), 2):
                owners[pair] += 1
    for (first, second), points in sorted(owners.items()):
        if points >= FEWEST_SHARED:
            count, share = _equally_far(sketches[first], sketches[second])
            if count >= FEWEST_SHARED:
                yield SharedPart(first, second, share)


def _points(
    plane: Real[np.ndarray, "h w"], *, is_full: bool
) -> tuple[UInt64[np.ndarray, " n"], Int32[np.ndarray, "n 2"]]:
    none = np.zeros(0, np.uint64), np.zeros((0, 2), np.int32)
    if min(plane.shape) <= 2 * REACH or plane.min() == plane.max():
        return none
    inner = tuple(slice(REACH, n - REACH) for n in plane.shape)
    peaks = plane > ndimage.maximum_filter(plane, footprint=_AROUND, mode="nearest")
    places = np.argwhere(peaks[inner]).astype(np.int32) + np.int32(REACH)
    leading = np.zeros(len(places), np.uint64)
    for pair in _PAIRS[:LEADING]:
        leading = 2 * leading + ~_is_brighter(plane, places, pair)
    if is_full or np.count_nonzero(leading == 0) >= 2 * MOST_POINTS:
        places, leading = places[leading == 0], leading[leading == 0]
    if not len(places):  # as in most slices of a body: comparing none costs as much as a few
        return none
    rest = np.zeros(len(places), np.uint64)
    for pair, factor in zip(_PAIRS[LEADING:], _FACTORS, strict=True):
        rest += factor * _is_brighter(plane, places, pair)
    rest = (rest ^ rest >> np.uint64(31)) * _FACTORS[0]
    return leading << np.uint64(64 - LEADING) | rest >> np.uint64(LEADING), places


def _is_brighter(
    plane: Real[np.ndarray, "h w"], places: Int32[np.ndarray, "n 2"], pair: Int64[np.ndarray, "2 2"]
) -> Bool[np.ndarray, " n"]:
    """One voxel of a pair than the other, which lie so far from each place."""
    (y, x), (one, other) = places.T, pair
    return np.asarray(plane[y + one[0], x + one[1]] > plane[y + other[0], x + other[1]])


def _smallest(found: Sequence[Sketch]) -> Sketch:
    hashes = np.concatenate([each.hashes for each in found])
    places = np.concatenate([each.places for each in found])
    _, kept = np.unique(hashes, return_index=True)
    return Sketch(hashes[kept[:MOST_POINTS]], places[kept[:MOST_POINTS]])


def _equally_far(one: Sketch, other: Sketch) -> tuple[int, float]:
    """How many of the points that both know lie equally far apart, and their share."""
    known = min(_largest(one), _largest(other))
    _, ours, theirs = np.intersect1d(
        one.hashes, other.hashes, assume_unique=True, return_indices=True
    )
    apart = one.places[ours] - other.places[theirs]
    _, counts = np.unique(apart, axis=0, return_counts=True)
    fewest = min(int(np.count_nonzero(each.hashes <= known)) for each in (one, other))
    return int(counts.max(initial=0)), float(counts.max(initial=0) / max(1, fewest))


def _largest(sketch: Sketch) -> np.uint64:
    """Hash up to which the sketch knows all points."""
    is_full = len(sketch.hashes) == MOST_POINTS
    return sketch.hashes[-1] if is_full else np.uint64(np.iinfo(np.uint64).max)
