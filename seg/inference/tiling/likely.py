"""Labels of resampled logits, without resampling the logits of all classes. Letters: ``k`` classes.

Between voxels of the network's grid an interpolated logit lies between the smallest and the
largest of those around it. So in a small block of voxels a class whose largest logit lies below the
smallest of another class is nowhere the likeliest, and is left out. What is left are a few of a
hundred classes along the borders of organs and one elsewhere; the labels are those of all classes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8

from seg.inference.labels.decision import labels_of
from seg.inference.tiling.blending import Slab
from seg.transforms import rows_within
from seg.transforms.resample import HALF, between, neighbours

BLOCK = 8
"""Edge in voxels of the network's grid: smaller ones leave fewer classes, and are more."""
ROUNDING = 1e-4
"""By which two logits must differ, as a share of the larger, to be told apart after rounding."""


_Places = tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"], Float32[np.ndarray, " n"]]
"""For each voxel the two of the network's grid beside it, and the share of the upper one."""


def _places(size_in: int, size_out: int, *, is_nearest: bool) -> _Places:
    low, high, share = neighbours(size_in, size_out)
    if not is_nearest:
        return low, high, share
    nearest = np.where(share < HALF, low, high)
    return nearest, nearest, np.zeros_like(share)


@dataclass(frozen=True, eq=False)
class _Axis:
    """Where the voxels of the result lie along an axis of the network's grid, and its blocks."""

    low: Int[np.ndarray, " n"]
    high: Int[np.ndarray, " n"]
    share: Float32[np.ndarray, " n"]
    starts: list[int]
    """First voxels of the blocks on the network's grid."""
    firsts: list[int]
    """First voxels of the blocks in the result, and its end."""

    @classmethod
    def of(cls, size_in: int, size_out: int, *, is_nearest: bool) -> "_Axis":
        low, high, share = _places(size_in, size_out, is_nearest=is_nearest)
        starts = list(range(0, size_in, BLOCK))
        firsts = [*np.searchsorted(low, starts).tolist(), size_out]
        return cls(low, high, share, starts, firsts)

    @property
    def widths(self) -> Int[np.ndarray, " blocks"]:
        """Voxels of the result in each block."""
        return np.diff(self.firsts)

    def blocks(self, first: int, stop: int) -> "_Axis":
        """Some of the blocks, as an axis of its own that begins with the first."""
        start, out = self.starts[first], slice(self.firsts[first], self.firsts[stop])
        return _Axis(
            self.low[out] - start,
            self.high[out] - start,
            self.share[out],
            [each - start for each in self.starts[first:stop]],
            [each - out.start for each in self.firsts[first : stop + 1]],
        )

    def part(self, block: int) -> tuple[slice, slice, _Places]:
        """Voxels of the result, those of the grid around them, and how the former lie there."""
        start = self.starts[block]
        out = slice(self.firsts[block], self.firsts[block + 1])
        around = slice(start, start + BLOCK + 1)
        return out, around, (self.low[out] - start, self.high[out] - start, self.share[out])


def likely_labels(
    slabs: Iterator[Slab],
    grid: tuple[int, ...],
    shape: tuple[int, ...],
    nearest_axis: int | None = None,
) -> Iterator[tuple[Slab, int, UInt8[np.ndarray, "*slab"] | None]]:
    """Each slab, and the first row and labels of the rows of the result that it completes, if any.

    Args:
        slabs: logits of exclusive classes of a volume of a size of ``grid``. Where they hold a part
            of the lines, the parts of some rows come one after the other, each cut alike.
        grid: the network's.
        shape: the image's.
        nearest_axis: one that takes the nearest neighbour.
    """
    along_y, along_x = (
        _Axis.of(grid[axis], shape[axis], is_nearest=axis == nearest_axis) for axis in (1, 2)
    )
    low, high, share = _places(grid[0], shape[0], is_nearest=nearest_axis == 0)
    last: dict[int, np.ndarray] = {}
    """By first line: the row before."""
    begun: dict[int, tuple[int, np.ndarray, UInt8[np.ndarray, "*slab"]]] = {}
    """By first row: the first block without labels, what is known of its lines, and labels."""
    for slab in slabs:
        lines = slab.lines or slice(0, grid[1])
        before = last.get(lines.start)
        rows = slab.logits if before is None else np.concatenate([before, slab.logits], axis=1)
        last[lines.start] = slab.logits[:, -1:].copy()
        known = slab.stop - rows.shape[1]
        done = rows_within(grid[0], shape[0], slab.start) if slab.start else 0
        out = slice(done, rows_within(grid[0], shape[0], slab.stop))
        along_z = low[out] - known, high[out] - known, share[out]
        if lines.start:
            block, earlier, labels = begun.pop(slab.start)
            rows = np.concatenate([earlier, rows], axis=2)
        else:
            block, labels = 0, np.empty((out.stop - done, *shape[1:]), np.uint8)
        is_last = lines.stop == grid[1]
        stop = len(along_y.starts) if is_last else (lines.stop - 1) // BLOCK
        if stop > block:
            part = slice(along_y.firsts[block], along_y.firsts[stop])
            labels[:, part] = _labels(rows, along_z, along_y.blocks(block, stop), along_x)
        if is_last:
            yield slab, done, labels
            continue
        first_line = lines.stop - rows.shape[2]
        begun[slab.start] = stop, rows[:, :, stop * BLOCK - first_line :].copy(), labels
        yield slab, done, None


def _labels(
    rows: Float32[np.ndarray, "k z y x"],
    along_z: _Places,
    along_y: _Axis,
    along_x: _Axis,
) -> UInt8[np.ndarray, "out_z out_y out_x"]:
    kept = _candidates(rows, along_y.starts, along_x.starts)
    only = np.repeat(kept.argmax(axis=0).astype(np.uint8), along_y.widths, axis=0)
    only = np.repeat(only, along_x.widths, axis=1)
    labels = np.empty((len(along_z[0]), *only.shape), np.uint8)
    labels[:] = only
    for y, x in np.argwhere(kept.sum(axis=0) > 1).tolist():
        (out_y, around_y, places_y), (out_x, around_x, places_x) = along_y.part(y), along_x.part(x)
        classes = np.flatnonzero(kept[:, y, x])
        logits = rows[classes, :, around_y, around_x]
        for axis, places in enumerate((along_z, places_y, places_x), start=1):
            logits = between(logits, *places, axis)
        labels[:, out_y, out_x] = classes.astype(np.uint8)[labels_of(logits)]
    return labels


def _candidates(
    rows: Float32[np.ndarray, "k z y x"], starts_y: Sequence[int], starts_x: Sequence[int]
) -> Bool[np.ndarray, "k blocks_y blocks_x"]:
    """Which classes may be the likeliest somewhere in each block."""
    largest, smallest = (
        _over_blocks(pick, pick.reduce(rows, axis=1), starts_y, starts_x)
        for pick in (np.maximum, np.minimum)
    )
    floor = smallest.max(axis=0)
    kept: np.ndarray = largest >= floor - ROUNDING * np.maximum(1, np.abs(floor))
    kept[:, ~kept.any(axis=0)] = True  # a logit is NaN: nothing is known
    return kept


def _over_blocks(
    pick: np.ufunc,
    plane: Float32[np.ndarray, "k y x"],
    starts_y: Sequence[int],
    starts_x: Sequence[int],
) -> Float32[np.ndarray, "k blocks_y blocks_x"]:
    """The largest or smallest of each block and of the neighbours that it ends at."""
    for axis, starts in ((1, starts_y), (2, starts_x)):
        ends = np.minimum(np.array([*starts[1:], plane.shape[axis]]), plane.shape[axis] - 1)
        plane = pick(pick.reduceat(plane, starts, axis=axis), plane.take(ends, axis=axis))
    return plane
