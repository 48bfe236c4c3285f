"""Windows that share no voxel, of which labels are all that comes back.

Nothing is blended there, so that labels may be taken where the network runs: of an image that fits
in a patch, and of larger ones without an overlap whose sizes are multiples of the patch's. Letters:
``b`` batch, ``k`` classes.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from math import prod
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from seg.inference.backends.deciding import Decided, decided_by
from seg.inference.backends.onnx import DecidingBackend
from seg.inference.tiling.ahead import ahead
from seg.inference.tiling.sliding_window import (
    AHEAD,
    Batch,
    Progress,
    Surrounded,
    Tiling,
    WindowCounts,
    batches_of,
    heard_by,
    in_turn,
    surrounded_windows,
    window_starts,
)
from seg.transforms import Rows


class DecidedPart(NamedTuple):
    """What is known of a part of the image."""

    where: tuple[slice, ...]
    decided: Decided


def are_apart(shape: Sequence[int], patch: Sequence[int], overlap: float) -> bool:
    """Whether the windows of an image of that size share no voxel."""
    return _are_apart(
        [window_starts(n, p, overlap) for n, p in zip(shape, patch, strict=True)], patch
    )


def _are_apart(starts: Sequence[Sequence[int]], patch: Sequence[int]) -> bool:
    return all(
        later - start >= p
        for of_axis, p in zip(starts, patch, strict=True)
        for start, later in pairwise(of_axis)
    )


def decided_parts(
    backend: DecidingBackend,
    image: Rows,
    tiling: Tiling,
    temperature: float,
    progress: Progress | None = None,
    counts: WindowCounts | None = None,
) -> Iterator[DecidedPart] | None:
    """The parts of an image, in any order; None where windows overlap.

    Args:
        backend: the network, of exclusive classes.
        image: prepared rows.
        tiling: how it is cut.
        temperature: of the calibrated probabilities.
        progress: called with windows done and windows in all.
        counts: is filled in.

    Raises:
        BackendError: the network failed.
    """
    surrounded, starts = surrounded_windows(image, backend.patch, tiling)
    if not _are_apart(starts, backend.patch):
        return None
    counts = counts or WindowCounts()
    counts.total = prod(map(len, starts))
    return _parts(backend, surrounded, starts, tiling, temperature, progress, counts)


def _parts(  # noqa: PLR0913 - what was found out above
    backend: DecidingBackend,
    image: Surrounded,
    starts: Sequence[Sequence[int]],
    tiling: Tiling,
    temperature: float,
    progress: Progress | None,
    counts: WindowCounts,
) -> Iterator[DecidedPart]:
    patch = backend.patch

    def ask(batch: Batch) -> Sequence[Decided]:
        inside = np.stack([_mask(image, at, patch)[None] for at in batch.starts])
        return heard_by(
            counts, batch.rows, lambda: backend.decide(batch.patches, inside, temperature)
        )

    left = set(product(*starts))
    tick = progress or (lambda done, total: None)
    batches = ahead(batches_of(image, starts, backend, tiling, counts), AHEAD)
    for at, decided in in_turn(ask, backend.callers, batches, counts, tick):
        left.discard(at)
        yield _cut(image, at, patch, decided)
    for at in left:  # known to be background
        assert tiling.background is not None
        inside = _mask(image, at, patch)
        flat = tiling.background.reshape(-1, *(1,) * len(patch))
        logits = np.broadcast_to(flat, (len(flat), *patch))
        yield _cut(image, at, patch, decided_by(logits, inside, temperature))


def _within(
    image: Surrounded, at: Sequence[int], patch: Sequence[int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where a window lies in the image, and where the image lies in the window."""
    sides = [
        (max(start, side.start), max(min(start + p, side.stop), max(start, side.start)))
        for start, p, side in zip(at, patch, image.inside, strict=True)
    ]
    there = tuple(
        slice(low - side.start, high - side.start)
        for (low, high), side in zip(sides, image.inside, strict=True)
    )
    here = tuple(
        slice(low - start, high - start) for (low, high), start in zip(sides, at, strict=True)
    )
    return there, here


def _mask(
    image: Surrounded, at: Sequence[int], patch: tuple[int, ...]
) -> UInt8[np.ndarray, "*patch"]:
    mask = np.zeros(patch, np.uint8)
    mask[_within(image, at, patch)[1]] = 1
    return mask


def _cut(
    image: Surrounded, at: Sequence[int], patch: tuple[int, ...], decided: Decided
) -> DecidedPart:
    there, here = _within(image, at, patch)
    kept = (decided.labels[here], decided.likeliest[here], decided.entropy[here])
    return DecidedPart(there, Decided(*kept, decided.mass))
