"""Logits of overlapping windows to logits of an image, slab by slab. Letters: ``k`` classes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from jaxtyping import Float, Float32

from seg.transforms import Convention

GAUSSIAN_SIGMA = 1 / 8
"""Deviation of the blending weights, as a share of the patch."""
SMALLEST_WEIGHT = 1e-3
"""Weight at the far corners, so that no voxel divides by nothing."""
SLAB_BYTES = 2**24
"""About the size of a slab: what follows works in the cache, and holds little."""


@dataclass(frozen=True, eq=False)
class Slab:
    """Finished rows ``start`` to ``stop`` along the first spatial axis."""

    start: int
    stop: int
    logits: Float32[np.ndarray, "k *slab"]
    lines: slice | None = None
    """Along the second spatial axis; None is all of them."""


NNUNET_PEAK = 10
"""nnU-Net's weights are float16, of which ten times as many are told apart this way."""


def gaussian_weights(
    patch: Sequence[int], convention: Convention = "seg"
) -> Float32[np.ndarray, "*patch"]:
    """Blending weights, largest in the centre.

    nnU-Net's centre of an even patch is the upper one of its two middle voxels, and far corners
    weigh what float16 can tell from 0.
    """
    theirs = convention == "nnunet"
    weights = np.ones((), dtype=np.float64)
    for size in patch:
        centre = size // 2 if theirs else (size - 1) / 2
        distance = (np.arange(size) - centre) / (size * GAUSSIAN_SIGMA)
        weights = weights[..., None] * np.exp(-0.5 * distance**2)
    if theirs:
        rounded = (NNUNET_PEAK * weights).astype(np.float16).astype(np.float32)
        return np.asarray(np.maximum(rounded, rounded[rounded > 0].min()))
    return np.maximum(weights, SMALLEST_WEIGHT).astype(np.float32)


def slabs_of(logits: Float32[np.ndarray, "k *spatial"]) -> Iterator[Slab]:
    """All rows of finished logits."""
    at_once = rows_at_once(len(logits), logits.shape[2:])
    for start in range(0, logits.shape[1], at_once):
        stop = min(start + at_once, logits.shape[1])
        yield Slab(start, stop, logits[:, start:stop])


def rows_at_once(classes: int, rest: Sequence[int]) -> int:
    """Rows in a slab of about ``SLAB_BYTES``; ``rest`` are the sizes of the other axes."""
    return max(1, SLAB_BYTES // max(1, 4 * classes * prod(rest)))


def blend_windows(  # noqa: PLR0913 - what windows and image are, and what is wanted of them
    windows: Iterator[tuple[tuple[int, ...], Float[np.ndarray, "k *patch"]]],
    patch: Sequence[int],
    shape: Sequence[int],
    inside: Sequence[slice],
    background: Float32[np.ndarray, " k"] | None = None,
    convention: Convention = "seg",
    *,
    first: int = 0,
) -> Iterator[Slab]:
    """The weighted mean of all windows at each voxel.

    Args:
        windows: where each starts, never back along the first axis, and what it says.
        patch: size of a window.
        shape: size of the image with its border.
        inside: the image within its border: what is wanted.
        background: logits of voxels that no window covers.
        convention: of the weights.
        first: row of the image from which means are wanted.
    """
    is_covered = background is None and first == 0
    sums = _Sums(gaussian_weights(patch, convention), shape, inside, background, is_covered)
    for at, logits in windows:
        yield from sums.moved_to(at[0], len(logits))
        sums.add(at, logits)
        del logits  # its memory is for the next run, which is waited for now
    yield from sums.moved_to(shape[0], 0)


class _Sums:
    """Weighted sums over one patch's depth of rows."""

    def __init__(
        self,
        weights: Float32[np.ndarray, "*patch"],
        shape: Sequence[int],
        inside: Sequence[slice],
        background: Float32[np.ndarray, " k"] | None,
        is_covered: bool,
    ) -> None:
        self._patch, self._rest, self._inside = weights.shape, tuple(shape[1:]), tuple(inside)
        self._background = background
        self._is_covered = is_covered
        """Whether each voxel lies in a window."""
        self._weights = weights
        self._starts: list[tuple[int, ...]] = []
        self._logits: np.ndarray | None = None
        self._weighted: np.ndarray | None = None
        self._base = 0

    def add(self, at: tuple[int, ...], logits: Float[np.ndarray, "k *patch"]) -> None:
        """Add a window that starts at the first row at hand."""
        assert self._logits is not None
        where = tuple(slice(s, s + p) for s, p in zip(at[1:], self._patch[1:], strict=True))
        for sums, channel in zip(self._logits, logits, strict=True):  # which stays in the cache
            self._weighted = np.multiply(
                channel, self._weights, out=self._weighted, dtype=np.float32
            )
            sums[(slice(None), *where)] += self._weighted
        self._starts.append(at)

    def moved_to(self, row: int, classes: int) -> Iterator[Slab]:
        """Give away all rows before ``row``, and clear the place for later ones."""
        if self._logits is None:
            classes = classes or (0 if self._background is None else len(self._background))
            self._logits = np.zeros((classes, self._patch[0], *self._rest), np.float32)
        if row == self._base:
            return
        at_once = rows_at_once(len(self._logits), self._rest)
        first, last = max(self._base, self._inside[0].start), min(row, self._inside[0].stop)
        for start in range(first, last, at_once):
            stop = min(start + at_once, last)
            offset = self._inside[0].start
            yield Slab(start - offset, stop - offset, self._mean(start, stop))
        self._starts = [at for at in self._starts if at[0] + self._patch[0] > row]
        for channel in self._logits:
            _shift(channel, row - self._base)
        self._base = row

    def _mean(self, start: int, stop: int) -> Float32[np.ndarray, "k *slab"]:
        assert self._logits is not None
        depth = self._patch[0]
        rows = slice(min(start - self._base, depth), min(stop - self._base, depth))
        sums = self._logits[(slice(None), rows, *self._inside[1:])]
        total = self._total(start, rows.stop - rows.start)
        if self._is_covered:
            return np.asarray(sums / total)
        background = self._background
        if background is None:
            background = np.zeros(len(sums), np.float32)
        sizes = (stop - start, *(part.stop - part.start for part in self._inside[1:]))
        mean = np.empty((len(sums), *sizes), np.float32)
        mean[:] = background.reshape(-1, *(1,) * len(sizes))
        np.divide(sums, total, out=mean[:, : rows.stop - rows.start], where=total > 0)
        return mean

    def _total(self, start: int, rows: int) -> Float32[np.ndarray, "*slab"]:
        """Weights of all windows in some rows: held for all rows, they would be a class more."""
        total = np.zeros((rows, *self._rest), np.float32)
        for at in self._starts:
            first, last = max(start, at[0]), min(start + rows, at[0] + self._patch[0])
            if first < last:
                where = (slice(s, s + p) for s, p in zip(at[1:], self._patch[1:], strict=True))
                weights = self._weights[first - at[0] : last - at[0]]
                total[(slice(first - start, last - start), *where)] += weights
        return total[(slice(None), *self._inside[1:])]


def _shift(rows: Float32[np.ndarray, "rows *rest"], by: int) -> None:
    """Move the rows up by ``by`` and clear those that become free."""
    kept = max(0, len(rows) - by)
    rows[:kept] = rows[len(rows) - kept :]
    rows[kept:] = 0
