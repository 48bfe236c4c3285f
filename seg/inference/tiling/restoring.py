"""From the network's grid back to the image's own, slab by slab. Letters: ``k`` classes."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32

from seg.inference.tiling.blending import Slab, rows_at_once
from seg.transforms import Window, resample_rows, rows_within


def restored(
    slabs: Iterator[Slab],
    grid: tuple[int, ...],
    shape: tuple[int, ...],
    nearest_axis: int | None = None,
) -> Iterator[Slab]:
    """The same logits at a size of ``shape``: logits are interpolated, since labels can't be.

    Of the slabs that have been seen, one row stays in memory.

    Args:
        slabs: logits of a size of ``grid``.
        grid: the network's.
        shape: the image's.
        nearest_axis: one that takes the nearest neighbour.
    """
    if grid == shape:
        yield from slabs
        return
    done = 0
    last: np.ndarray | None = None
    for slab in slabs:
        rows = slab.logits if last is None else np.concatenate([last, slab.logits], axis=1)
        window = Window(slab.stop - rows.shape[1], grid[0])
        at_once = rows_at_once(len(rows), shape[1:])
        ready = rows_within(grid[0], shape[0], slab.stop)
        for start in range(done, ready, at_once):
            stop = min(start + at_once, ready)
            found = resample_rows(rows, shape, range(start, stop), window, nearest_axis)
            yield Slab(start, stop, found)
        done, last = ready, rows[:, -1:].copy()


def embedded(
    slabs: Iterator[Slab],
    box: tuple[slice, ...],
    shape: tuple[int, ...],
    background: Float32[np.ndarray, " k"],
) -> Iterator[Slab]:
    """Logits of a part of an image as logits of all of it, which are ``background`` elsewhere."""
    empty = background.reshape(-1, *(1,) * len(shape))
    at_once = rows_at_once(len(background), shape[1:])

    def nothing(start: int, stop: int) -> Iterator[Slab]:
        for first in range(start, stop, at_once):
            last = min(first + at_once, stop)
            around = np.broadcast_to(empty, (len(background), last - first, *shape[1:]))
            yield Slab(first, last, around.copy())

    yield from nothing(0, box[0].start)
    for slab in slabs:
        logits = np.broadcast_to(empty, (len(background), slab.stop - slab.start, *shape[1:]))
        logits = logits.copy()
        logits[(slice(None), slice(None), *box[1:])] = slab.logits
        yield Slab(slab.start + box[0].start, slab.stop + box[0].start, logits)
    yield from nothing(box[0].stop, shape[0])
