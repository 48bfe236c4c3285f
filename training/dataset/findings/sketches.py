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
from jaxtyping import Int32, Real, UInt64
from scipy import ndimage

MOST_POINTS = 512
"""Of an image, 10 kB at most."""
REACH = 5
"""Voxels around a point that are looked at, in plane."""
BITS = 64
THINNED = {2: 0, 3: 4}
"""Comparisons, by number of dimensions, that must be true of a point: volumes have many points."""
FEWEST_SHARED = 8
"""Points equally far apart from which on two images share a part.

Measured: any two frames of hela or of cho (films of the same cells), and any two regions of
scratch-assay, share 1 at most; a copy shifted by 40 pixels 480, a sixteenth of the frame 25.
"""
MOST_OWNERS = 64
"""Images that a point may be in: one in more is a pattern, not a place."""

_DRAWN = np.random.default_rng(0)
_FROM, _TO = _DRAWN.integers(-REACH, REACH + 1, (2, BITS, 2))
_FACTORS = _DRAWN.integers(2**63, size=BITS, dtype=np.uint64) | np.uint64(1)
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
    for at in np.ndindex(array.shape[1:-2]):
        plane = array[:, *at].sum(axis=0)
        hashes, places = _points(plane, THINNED.get(dims, 0))
        before = np.broadcast_to(np.array(at, np.int32), (len(places), len(at)))
        found.append(Sketch(hashes, np.concatenate([before, places], axis=1)))
        if sum(len(each.hashes) for each in found) > 4 * MOST_POINTS:
            found = [_smallest(found)]
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
    plane: Real[np.ndarray, "h w"], thinned: int
) -> tuple[UInt64[np.ndarray, " n"], Int32[np.ndarray, "n 2"]]:
    inner = tuple(slice(REACH, n - REACH) for n in plane.shape)
    none = np.zeros(0, np.uint64), np.zeros((0, 2), np.int32)
    if min(plane.shape) <= 2 * REACH or plane.min() == plane.max():
        return none
    peaks = plane > ndimage.maximum_filter(plane, footprint=_AROUND, mode="nearest")
    y, x = (each + REACH for each in np.nonzero(peaks[inner]))
    for (from_y, from_x), (to_y, to_x) in zip(_FROM[:thinned], _TO[:thinned], strict=True):
        kept = plane[y + from_y, x + from_x] > plane[y + to_y, x + to_x]
        y, x = y[kept], x[kept]
    if not len(y):  # as in most slices of a body: comparisons of nothing cost as much as of a few
        return none
    hashes = np.zeros(len(y), np.uint64)
    for (from_y, from_x), (to_y, to_x), factor in zip(_FROM, _TO, _FACTORS, strict=True):
        hashes += factor * (plane[y + from_y, x + from_x] > plane[y + to_y, x + to_x])
    hashes ^= hashes >> np.uint64(31)
    return hashes * _FACTORS[0], np.stack([y, x], axis=1).astype(np.int32)


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
