"""Weighted sums of windows, given away as soon as no later window reaches them.

Where windows start or end along the first two axes bricks meet, which are finished once the last
window that reaches them is, and are not there before the first. Of many classes the sums are most
of what is held of a volume: here they are little more than half of those of one patch's depth.
Letters: ``k`` classes.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise, product

import numpy as np
from jaxtyping import Float, Float32

from seg.inference.tiling.blending import Slab, gaussian_weights, rows_at_once
from seg.transforms import Convention


def blend_in_bricks(  # noqa: PLR0913 - what windows and image are
    windows: Iterator[tuple[tuple[int, ...], Float[np.ndarray, "k *patch"]]],
    starts: Sequence[Sequence[int]],
    patch: Sequence[int],
    shape: Sequence[int],
    inside: Sequence[slice],
    background: Float32[np.ndarray, " k"] | None = None,
    convention: Convention = "seg",
) -> Iterator[Slab]:
    """The means of ``blend_windows``, in slabs that hold a part of their lines.

    Args:
        windows: in the order of their starts, and what each says; none for some of the starts.
        starts: of windows, along each axis.
        patch: size of a window.
        shape: size of the image with its border.
        inside: the image within its border: what is wanted.
        background: logits of voxels that no window covers.
        convention: of the weights.
    """
    bricks = _Bricks(gaussian_weights(patch, convention), starts, shape, inside, background)
    for at, logits in windows:
        yield from bricks.finished_before((at[0], at[1]))
        bricks.add(at, logits)
        del logits  # its memory is for the next run, which is waited for now
    yield from bricks.finished_before(tuple(shape[:2]))


def _parts(starts: Sequence[int], length: int, size: int) -> dict[int, int]:
    """First and end of the parts of an axis, each of which a window covers whole or not at all."""
    ends = (start + length for start in starts)
    return dict(pairwise(sorted({*starts, *(end for end in ends if end < size), size})))


def _last(starts: Sequence[int], place: int) -> int:
    return max(start for start in starts if start <= place)


class _Bricks:
    """Those that some window has reached, by their first row and line."""

    def __init__(
        self,
        weights: Float32[np.ndarray, "*patch"],
        starts: Sequence[Sequence[int]],
        shape: Sequence[int],
        inside: Sequence[slice],
        background: Float32[np.ndarray, " k"] | None,
    ) -> None:
        self._weights, self._patch, self._rest = weights, weights.shape, tuple(shape[2:])
        self._inside, self._background = tuple(inside), background
        rows, lines = (
            _parts(of_axis, length, size)
            for of_axis, length, size in zip(starts[:2], self._patch, shape, strict=False)
        )
        self._ends = rows, lines
        order = [
            ((_last(starts[0], row), _last(starts[1], line)), (line, row))
            for row, line in product(rows, lines)
        ]
        self._left = sorted(order, reverse=True)
        """Which window is the last to reach a brick of these lines and rows."""
        self._widest = max(stop - start for start, stop in lines.items())
        self._sums: dict[tuple[int, int], np.ndarray] = {}
        self._starts: list[tuple[int, ...]] = []
        self._weighted: np.ndarray | None = None

    def add(self, at: tuple[int, ...], logits: Float[np.ndarray, "k *patch"]) -> None:
        """Add a window."""
        where = tuple(slice(s, s + p) for s, p in zip(at[2:], self._patch[2:], strict=True))
        parts = [
            (self._brick(key, len(logits)), there, here) for key, there, here in self._under(at)
        ]
        for number, channel in enumerate(logits):  # which stays in the cache
            self._weighted = np.multiply(
                channel, self._weights, out=self._weighted, dtype=np.float32
            )
            for sums, there, here in parts:
                sums[number][(*there, *where)] += self._weighted[here]
        self._starts.append(at)

    def finished_before(self, place: tuple[int, ...]) -> Iterator[Slab]:
        """Give away the bricks that begin before a row and line, where the next window starts."""
        while self._left and self._left[-1][0] < place:
            _, (line, row) = self._left.pop()
            yield from self._slabs((row, line))
        row = self._left[-1][0][0] if self._left else 0
        self._starts = [at for at in self._starts if at[0] + self._patch[0] > row]

    def _under(
        self, at: tuple[int, ...]
    ) -> Iterator[tuple[tuple[int, int], tuple[slice, ...], tuple[slice, ...]]]:
        """Bricks that a window reaches: where it lies in them, and they in it."""
        sides: list[list[tuple[int, slice, slice]]] = []
        for start, length, ends in zip(at, self._patch, self._ends, strict=False):
            reached = []
            for first, end in ends.items():
                low, high = max(start, first), min(start + length, end)
                if low < high:
                    there, here = slice(low - first, high - first), slice(low - start, high - start)
                    reached.append((first, there, here))
            sides.append(reached)
        for (row, *rows), (line, *lines) in product(*sides):
            yield (row, line), (rows[0], lines[0]), (rows[1], lines[1])

    def _brick(self, key: tuple[int, int], classes: int) -> np.ndarray:
        if key not in self._sums:
            sizes = (ends[first] - first for first, ends in zip(key, self._ends, strict=True))
            self._sums[key] = np.zeros((classes, *sizes, *self._rest), np.float32)
        return self._sums[key]

    def _slabs(self, key: tuple[int, int]) -> Iterator[Slab]:
        """The wanted part of a brick; all bricks of the same rows are cut alike."""
        sums = self._sums.pop(key, None)
        rows, lines = (
            slice(max(first, side.start), min(ends[first], side.stop))
            for first, ends, side in zip(key, self._ends, self._inside, strict=False)
        )
        if rows.start >= rows.stop or lines.start >= lines.stop:
            return
        total = self._total(key)
        classes = len(sums) if sums is not None else len(self._background)  # type: ignore[arg-type]
        at_once = rows_at_once(classes, (self._widest, *self._rest))
        top, left = (side.start for side in self._inside[:2])
        for start in range(rows.start, rows.stop, at_once):
            stop = min(start + at_once, rows.stop)
            part = (
                slice(start - key[0], stop - key[0]),
                slice(lines.start - key[1], lines.stop - key[1]),
                *self._inside[2:],
            )
            mean = self._mean(None if sums is None else sums[(slice(None), *part)], total[part])
            where = slice(lines.start - left, lines.stop - left)
            yield Slab(start - top, stop - top, mean, where)

    def _mean(
        self, sums: Float32[np.ndarray, "k *slab"] | None, total: Float32[np.ndarray, "*slab"]
    ) -> Float32[np.ndarray, "k *slab"]:
        if self._background is None:
            assert sums is not None, "windows cover all voxels, or there is a background"
            return np.asarray(sums / total)
        mean = np.empty((len(self._background), *total.shape), np.float32)
        mean[:] = self._background.reshape(-1, *(1,) * total.ndim)
        if sums is not None:
            np.divide(sums, total, out=mean, where=total > 0)
        return mean

    def _total(self, key: tuple[int, int]) -> Float32[np.ndarray, "*brick"]:
        """Weights of all windows in a brick."""
        sizes = (ends[first] - first for first, ends in zip(key, self._ends, strict=True))
        total = np.zeros((*sizes, *self._rest), np.float32)
        for at in self._starts:
            where = (slice(s, s + p) for s, p in zip(at[2:], self._patch[2:], strict=True))
            rest = tuple(where)
            for reached, there, here in self._under(at):
                if reached == key:
                    total[(*there, *rest)] += self._weights[here]
        return total
