"""Any image through a network of fixed patch: windows out, blended logits back.

Letters: ``b`` batch, ``c`` channels, ``k`` classes.

Windows overlap and are averaged with Gaussian weights, since a network knows least at the edge
of its patch. Source: Isensee et al., nnU-Net, Nature Methods 18 (2021).
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from seg.inference.backends import Backend
from seg.transforms import surround

GAUSSIAN_SIGMA = 1 / 8
"""Deviation of the blending weights, as a share of the patch."""
AHEAD = 2
"""Runs in work or waiting, per caller: the network never waits for the blending."""
SMALLEST_WEIGHT = 1e-3
"""Weight at the far corners, so that no voxel divides by nothing."""


@dataclass(frozen=True, eq=False)
class Slab:
    """Finished rows ``start`` to ``stop`` along the first spatial axis."""

    start: int
    stop: int
    logits: Float32[np.ndarray, "k *slab"]


def window_starts(size: int, patch: int, overlap: float) -> list[int]:
    """First voxels of windows that cover an axis, spread evenly.

    Neighbours share at least ``overlap`` of a patch; an axis not longer than the patch gets one.
    """
    if size <= patch:
        return [0]
    steps = int(np.ceil((size - patch) / max(1.0, patch * (1 - overlap))))
    return [round(i * (size - patch) / steps) for i in range(steps + 1)]


def gaussian_weights(patch: Sequence[int]) -> Float32[np.ndarray, "*patch"]:
    """Blending weights, 1 in the centre."""
    weights = np.ones((), dtype=np.float64)
    for size in patch:
        distance = (np.arange(size) - (size - 1) / 2) / (size * GAUSSIAN_SIGMA)
        weights = weights[..., None] * np.exp(-0.5 * distance**2)
    return np.maximum(weights, SMALLEST_WEIGHT).astype(np.float32)


def predict_slabs(
    backend: Backend,
    array: Float32[np.ndarray, "c *spatial"],
    overlap: float,
    margin: Sequence[int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Slab]:
    """Blended logits of an image, slab by slab along its first axis.

    Holds one patch's depth of logits at a time, however long the image is.

    Args:
        backend: the network.
        array: a prepared image.
        overlap: share of a window that its neighbour covers as well, 0 to below 1.
        margin: voxels of 0 around the image, one number an axis; none where not given.
        progress: called with windows done and windows in all.
    """
    shape = array.shape[1:]
    margin = margin or (0,) * len(shape)
    padded = surround(array, margin, backend.patch)
    starts = list(
        itertools.product(
            *(
                window_starts(n, p, overlap)
                for n, p in zip(padded.shape[1:], backend.patch, strict=True)
            )
        )
    )
    inside = tuple(slice(m, m + n) for m, n in zip(margin[1:], shape[1:], strict=True))
    for slab in _blend(_run_windows(backend, padded, starts, progress), backend.patch, padded):
        start, stop = max(slab.start - margin[0], 0), min(slab.stop - margin[0], shape[0])
        if start < stop:
            rows = slice(start + margin[0] - slab.start, stop + margin[0] - slab.start)
            yield Slab(start, stop, slab.logits[(slice(None), rows, *inside)])


_Start = tuple[int, ...]


def _run_windows(
    backend: Backend,
    padded: Float32[np.ndarray, "c *spatial"],
    starts: Sequence[_Start],
    progress: Callable[[int, int], None] | None,
) -> Iterator[tuple[_Start, Float32[np.ndarray, "k *patch"]]]:
    """Logits of each window, in the order of ``starts``, with ``backend.callers`` at work."""

    def run(chunk: Sequence[_Start]) -> Float[np.ndarray, "b k *patch"]:
        windows = [
            padded[
                (slice(None), *(slice(s, s + p) for s, p in zip(at, backend.patch, strict=True)))
            ]
            for at in chunk
        ]
        return backend.run(np.ascontiguousarray(np.stack(windows)))

    chunks = [starts[i : i + backend.batch_size] for i in range(0, len(starts), backend.batch_size)]
    done = 0
    waiting: deque[Future[Float[np.ndarray, "b k *patch"]]] = deque()
    with ThreadPoolExecutor(backend.callers) as pool:
        try:
            for number, chunk in enumerate(chunks):
                while len(waiting) < AHEAD * backend.callers and number + len(waiting) < len(
                    chunks
                ):
                    waiting.append(pool.submit(run, chunks[number + len(waiting)]))
                yield from zip(chunk, waiting.popleft().result(), strict=True)
                done += len(chunk)
                if progress:
                    progress(done, len(starts))
        finally:
            for future in waiting:
                future.cancel()


def _blend(
    windows: Iterator[tuple[_Start, Float32[np.ndarray, "k *patch"]]],
    patch: Sequence[int],
    padded: Float32[np.ndarray, "c *spatial"],
) -> Iterator[Slab]:
    weights = gaussian_weights(patch)
    rest = padded.shape[2:]
    total = np.zeros((patch[0], *rest), np.float32)
    sums: np.ndarray | None = None
    base = 0
    for (row, *others), logits in windows:
        if sums is None:
            sums = np.zeros((len(logits), patch[0], *rest), np.float32)
        if row > base:
            yield Slab(base, row, sums[:, : row - base] / total[: row - base])
            _shift(sums, row - base)
            _shift(total[None], row - base)
            base = row
        at = tuple(slice(s, s + p) for s, p in zip(others, patch[1:], strict=True))
        sums[(slice(None), slice(None), *at)] += logits * weights
        total[(slice(None), *at)] += weights
    assert sums is not None  # there is always one window
    yield Slab(base, base + patch[0], sums / total)


def _shift(rows: Float32[np.ndarray, "k rows *rest"], by: int) -> None:
    """Move the rows up by ``by`` and clear those that become free."""
    kept = max(0, rows.shape[1] - by)
    rows[:, :kept] = rows[:, rows.shape[1] - kept :].copy()
    rows[:, kept:] = 0
