"""Outlines of many flat objects at once, along the borders of their pixels.

Every corner of an outline has one neighbour along its row and one along its column: corners of an
object, sorted along a line, are neighbours two by two. So rings are found by sorting alone.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Int64, UInt32

from seg.images.outlines.polygons import outlines

Ring = list[list[int]]
"""Points (x, y), the first one again at the end."""
Polygon = list[Ring]
"""An outer ring, and its holes."""

_PLACES = ((-1, -1), (-1, 0), (0, -1), (0, 0))
"""Of the four pixels around a corner, their row and column from it."""


def polygons_of(labels: UInt32[np.ndarray, "y x"], count: int) -> Iterator[list[Polygon]]:
    """Of each object from 1 on its polygons, as ``seg.images.outlines`` has them of classes.

    Each ring begins at its leftmost point, the upper one of several.
    """
    numbers, points, is_right, is_low = _corners(labels)
    across = _neighbours(numbers, points[:, 1], points[:, 0], is_right)
    along = _neighbours(numbers, points[:, 0], points[:, 1], is_low)
    order = np.lexsort((points[:, 1], points[:, 0], numbers))
    ends = np.searchsorted(numbers[order], np.arange(1, count + 2)).tolist()
    x, y = points.T
    height, width = labels.shape
    inner = labels[np.minimum(y, height - 1), np.minimum(x, width - 1)] == numbers
    walk = _Walk(points.tolist(), across.tolist(), along.tolist(), inner.tolist())
    for number, start, end in zip(range(1, count + 1), ends, ends[1:], strict=False):
        found = walk.polygons(order[start:end].tolist())
        yield _by_faces(labels, number, points[order[start:end]]) if found is None else found


class _Walk:
    """From corner to corner."""

    def __init__(
        self, points: list[list[int]], across: list[int], along: list[int], inner: list[bool]
    ) -> None:
        self._points = points
        self._steps = (across, along)
        self._inner = inner

    def polygons(self, corners: Sequence[int]) -> list[Polygon] | None:
        """Of one object, whose corners come from left to right; None where that is not enough.

        An outline that meets itself in a point may be an outer ring and a hole, and of several
        parts with holes the holes may be of either.
        """
        outer: list[Ring] = []
        holes: list[Ring] = []
        seen: set[int] = set()
        for first in corners:
            if first in seen:
                continue
            is_outer = self._inner[first]
            ring, at, turn = [self._points[first]], first, not is_outer
            while True:
                seen.add(at)
                at = self._steps[turn][at]
                ring.append(self._points[at])
                if at == first:
                    break
                turn = not turn
            if len({(x, y) for x, y in ring}) < len(ring) - 1:
                return None
            (outer if is_outer else holes).append(ring)
        if holes and len(outer) > 1:
            return None
        return [[ring, *holes] for ring in outer]


def _by_faces(
    labels: UInt32[np.ndarray, "y x"], number: int, corners: Int64[np.ndarray, "n 2"]
) -> list[Polygon]:
    (left, top), (right, low) = corners.min(axis=0), corners.max(axis=0)
    corner = np.array([left, top])
    inside = (labels[top:low, left:right] == number).astype(np.uint8)
    found: list[Polygon] = []
    for _, polygon in outlines(inside):
        rings = (polygon.exterior, *polygon.interiors)
        found.append([(np.asarray(ring.coords).astype(int) + corner).tolist() for ring in rings])
    return found


def _corners(
    labels: UInt32[np.ndarray, "y x"],
) -> tuple[UInt32[np.ndarray, " n"], Int64[np.ndarray, "n 2"], np.ndarray, np.ndarray]:
    """Of all outlines: whose, where (x, y), and whether the outline goes on right and down.

    Where two pixels of an object meet in a corner only, each has one of its own.
    """
    padded = np.pad(labels, 1)
    height, width = (size + 1 for size in labels.shape)
    around = {
        (row, column): padded[1 + row : 1 + row + height, 1 + column : 1 + column + width]
        for row, column in _PLACES
    }
    differs_across = padded[:, 1:] != padded[:, :-1]
    differs_along = padded[1:] != padded[:-1]
    # where an edge ends: elsewhere is no corner
    above, below = differs_across[:-1], differs_across[1:]
    left, right = differs_along[:, :-1], differs_along[:, 1:]
    rows, columns = np.nonzero((above | below) & (left | right))
    four = {place: pixels[rows, columns] for place, pixels in around.items()}
    numbers, points, rights, lows = [], [], [], []
    for row, column in _PLACES:
        own = four[row, column]
        beside, over = four[row, -1 - column], four[-1 - row, column]
        across = four[-1 - row, -1 - column]
        is_convex = (own > 0) & (beside != own) & (over != own)
        is_concave = (across > 0) & (beside == across) & (over == across) & (own != across)
        for is_corner, whose in ((is_convex, own), (is_concave, across)):
            numbers.append(whose[is_corner])
            points.append(np.stack([columns[is_corner], rows[is_corner]], axis=1))
            rights.append(np.full(len(numbers[-1]), column == 0))
            lows.append(np.full(len(numbers[-1]), row == 0))
    return tuple(map(np.concatenate, (numbers, points, rights, lows)))  # type: ignore[return-value]


def _neighbours(
    numbers: UInt32[np.ndarray, " n"],
    line: Int64[np.ndarray, " n"],
    place: Int64[np.ndarray, " n"],
    goes_on: np.ndarray,
) -> Int64[np.ndarray, " n"]:
    """The corner at the other end of each one's edge along a line."""
    order = np.lexsort((goes_on, place, line, numbers))
    others = np.empty(len(order), np.int64)
    others[order[::2]], others[order[1::2]] = order[1::2], order[::2]
    return others
