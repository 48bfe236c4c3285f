"""From the network's grid back to the image's own, slab by slab. Letters: ``k`` classes."""

from collections.abc import Iterator
from math import prod

import numpy as np

from seg.inference.blending import SLAB_BYTES, Slab
from seg.transforms import Window, resample_rows, rows_within


def restored(
    slabs: Iterator[Slab], grid: tuple[int, ...], shape: tuple[int, ...]
) -> Iterator[Slab]:
    """The same logits at a size of ``shape``: logits are interpolated, since labels can't be.

    Of the slabs that have been seen, one row stays in memory.
    """
    if grid == shape:
        yield from slabs
        return
    done = 0
    last: np.ndarray | None = None
    for slab in slabs:
        rows = slab.logits if last is None else np.concatenate([last, slab.logits], axis=1)
        window = Window(slab.stop - rows.shape[1], grid[0])
        at_once = max(1, SLAB_BYTES // (4 * len(rows) * prod(shape[1:])))
        ready = rows_within(grid[0], shape[0], slab.stop)
        for start in range(done, ready, at_once):
            stop = min(start + at_once, ready)
            yield Slab(start, stop, resample_rows(rows, shape, range(start, stop), window))
        done, last = ready, rows[:, -1:].copy()
