"""Connected parts of a mask, found while the mask comes band by band.

A part is what pixels of one class joined by their edges make. What is kept of one is its runs of
pixels, column by column, so that memory holds the parts that may still grow, and no mask.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, Integer
from scipy import ndimage

from seg.images.outlines.polygons import Polygon, outlines

AT_ONCE = 2**22
"""Pixels of a part that are drawn at once to outline it."""

Runs = Int[np.ndarray, "runs 3"]
"""Column, first row, and the row behind the last one."""


@dataclass(frozen=True, eq=False, slots=True)
class MaskPart:
    """One part."""

    index: int
    """Of its class."""
    runs: Runs
    """Sorted by column and row; none touches the next one in its column."""

    @property
    def area(self) -> int:
        """In pixels."""
        return int((self.runs[:, 2] - self.runs[:, 1]).sum())

    @property
    def box(self) -> tuple[int, int, int, int]:
        """First column and row, and those behind the last ones."""
        columns, tops, bottoms = self.runs.T
        return int(columns.min()), int(tops.min()), int(columns.max()) + 1, int(bottoms.max())

    def polygon(self) -> Polygon:
        """Its outline, with its holes; as ``outlines`` gives it."""
        import shapely
        from shapely import affinity
        from shapely.geometry.polygon import orient

        left, top, right, bottom = self.box
        rows = max(1, AT_ONCE // (right - left))
        pieces = []
        for first in range(top, bottom, rows):
            last = min(first + rows, bottom)
            drawn = self._drawn(left, right, first, last)
            pieces += [
                affinity.translate(piece, left, first)
                for _, piece in outlines(drawn.astype(np.uint8))
            ]
        whole = pieces[0] if len(pieces) == 1 else shapely.simplify(shapely.union_all(pieces), 0)
        return orient(whole)

    def _drawn(self, left: int, right: int, top: int, bottom: int) -> Bool[np.ndarray, "y x"]:
        steps = np.zeros((right - left, bottom - top + 1), np.int8)
        columns, tops, bottoms = self.runs.T
        inside = (bottoms > top) & (tops < bottom)
        columns = columns[inside] - left
        np.add.at(steps, (columns, np.maximum(tops[inside], top) - top), 1)
        np.add.at(steps, (columns, np.minimum(bottoms[inside], bottom) - top), -1)
        drawn: Bool[np.ndarray, "y x"] = np.cumsum(steps, axis=1)[:, :-1].T > 0
        return drawn


def regions_of(bands: Iterable[Integer[np.ndarray, "rows x"]]) -> Iterator[MaskPart]:
    """The parts of all classes but background, each as soon as it cannot grow any more.

    Args:
        bands: Rows of the mask from the top, any number at a time.
    """
    open_parts: dict[int, _Open] = {}
    bottom_ids: Int[np.ndarray, x] | None = None
    top = following = 0
    for band in bands:
        ids, classes = _labelled(band, following + 1)
        following += len(classes)
        found = _runs_by_id(ids, top)
        parts = {
            number: _Open(int(classes[number - following + len(classes) - 1]), [runs])
            for number, runs in found.items()
        }
        joined = _Joined()
        if bottom_ids is not None:
            for above, below in _touching(bottom_ids, ids[0], open_parts, parts):
                joined.unite(above, below)
        merged: dict[int, _Open] = {}
        for number, part in (*open_parts.items(), *parts.items()):
            root = joined.root(number)
            if root in merged:
                merged[root].runs += part.runs
            else:
                merged[root] = _Open(part.index, list(part.runs))
        bottom_ids = np.array([joined.root(n) if n else 0 for n in ids[-1].tolist()])
        still = set(bottom_ids.tolist())
        yield from (part.closed() for root, part in merged.items() if root not in still)
        open_parts = {root: part for root, part in merged.items() if root in still}
        top += len(band)
    yield from (part.closed() for part in open_parts.values())


@dataclass(slots=True)
class _Open:
    """A part that may go on in the next band."""

    index: int
    runs: list[np.ndarray]

    def closed(self) -> MaskPart:
        runs = np.concatenate(self.runs)
        runs = runs[np.lexsort((runs[:, 1], runs[:, 0]))]
        goes_on = (runs[1:, 0] == runs[:-1, 0]) & (runs[1:, 1] == runs[:-1, 2])
        starts = np.concatenate([[True], ~goes_on])
        ends = np.concatenate([~goes_on, [True]])
        return MaskPart(self.index, np.column_stack([runs[starts, :2], runs[ends, 2]]))


class _Joined:
    """Which numbers stand for one part."""

    def __init__(self) -> None:
        self._above: dict[int, int] = {}

    def root(self, number: int) -> int:
        while number in self._above:
            number = self._above[number]
        return number

    def unite(self, first: int, second: int) -> None:
        low, high = sorted((self.root(first), self.root(second)))
        if low != high:
            self._above[high] = low


def _labelled(
    band: Integer[np.ndarray, "rows x"], first: int
) -> tuple[Int[np.ndarray, "rows x"], Int[np.ndarray, "parts"]]:
    """A number for each part, from ``first`` on in the order of classes; and their classes."""
    ids = np.zeros(band.shape, np.int64)
    classes: list[int] = []
    for index in np.unique(band[band > 0]).tolist():
        labels, count = ndimage.label(band == index)
        inside = labels > 0
        ids[inside] = labels[inside] + (first - 1 + len(classes))
        classes += [index] * count
    return ids, np.array(classes, int)


def _runs_by_id(ids: Int[np.ndarray, "rows x"], top: int) -> dict[int, Runs]:
    columns = np.pad(ids.T, ((0, 0), (1, 1)))
    changes = columns[:, 1:] != columns[:, :-1]
    starts = np.argwhere(changes & (columns[:, 1:] > 0))
    ends = np.argwhere(changes & (columns[:, :-1] > 0))
    if not len(starts):
        return {}
    numbers = ids.T[starts[:, 0], starts[:, 1]]
    runs = np.column_stack([starts[:, 0], starts[:, 1] + top, ends[:, 1] + top])
    order = np.argsort(numbers, kind="stable")
    found, first = np.unique(numbers[order], return_index=True)
    return dict(zip(found.tolist(), np.split(runs[order], first[1:]), strict=True))


def _touching(
    above: Int[np.ndarray, "x"],
    below: Int[np.ndarray, "x"],
    open_parts: dict[int, _Open],
    parts: dict[int, _Open],
) -> Sequence[tuple[int, int]]:
    """Parts of one class that meet where two bands do."""
    both = (above > 0) & (below > 0)
    pairs = np.unique(np.column_stack([above[both], below[both]]), axis=0).tolist()
    return [(a, b) for a, b in pairs if open_parts[a].index == parts[b].index]
