"""Any image through a network of fixed patch: windows out, blended logits back.

Letters: ``b`` batch, ``c`` channels, ``k`` classes.

Windows overlap and are averaged with Gaussian weights, since a network knows least at the edge
of its patch. Source: Isensee et al., nnU-Net, Nature Methods 18 (2021).

Rows are read, and slabs come out, while the network runs; in memory are one patch's depth of the
image and of its logits, however long the image is.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from math import prod
from threading import Event
from typing import TypeVar

import numpy as np
from jaxtyping import Float32

from seg.inference.backends.features import Heard, listening
from seg.inference.backends.onnx import Backend
from seg.inference.tiling.ahead import ahead
from seg.inference.tiling.blending import Slab, blend_windows, rows_at_once, slabs_of
from seg.inference.tiling.bricks import blend_in_bricks
from seg.leavable_pool import leavable_pool
from seg.transforms import Convention, Rows, border

AHEAD = 2
"""Runs that wait beside those in work, so that the network never waits for the blending."""
LARGE_ANSWER = 2**26
"""Bytes of a run's logits from which one run waits: of a hundred classes they are most of what is
held beside the sums, and blending them takes a fraction of the network's time."""
SLABS_AHEAD = 3
"""Slabs that wait while earlier ones are resampled, labelled and written."""

Answer = TypeVar("Answer")
"""Of a network."""
Progress = Callable[[int, int], None]
"""Called with windows done and windows in all."""


@dataclass(kw_only=True, slots=True)
class WindowCounts:
    """What became of the windows of an image."""

    total: int = 0
    skipped: int = 0
    """Known to be background without asking the network."""
    before: int = 0
    """Of rows that are not wanted, as those that an earlier run was asked about."""
    told: list[tuple[tuple[int, ...], Heard]] = field(default_factory=list)
    """First rows of the windows of a run, and what the network saw of them; in any order."""
    skipped_at: list[int] = field(default_factory=list)
    """First rows of the windows that were skipped."""
    unfounded_to: int = 0
    """Row of the network's grid up to which unfounded and founded voxels are counted."""

    def forget(self, depth: int, first: int) -> None:
        """What windows told that a run will ask again which wants row ``first`` and later ones.

        Args:
            depth: rows of a window.
            first: of the image with its border.
        """
        kept = []
        for rows, heard in self.told:
            is_done = np.array(rows) + depth <= first
            if is_done.all():
                kept.append((rows, heard))
            elif is_done.any() and len(rows) == len(heard.features):
                done = tuple(np.array(rows)[is_done].tolist())
                kept.append((done, heard._replace(features=heard.features[is_done])))
        self.told = kept
        self.skipped_at = [row for row in self.skipped_at if row + depth <= first]
        self.skipped = len(self.skipped_at)

    @property
    def heard(self) -> list[Heard]:
        """What the networks saw of all windows."""
        return [heard for _, heard in self.told]

    unfounded: int = 0
    """Voxels that the network took for objects where nothing stands out: they are background."""
    founded: int = 0
    """Voxels that it took for such objects and that stay."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tiling:
    """How an image is cut into windows, and which of them are not worth a look."""

    overlap: float = 0.5
    """Share of a window that its neighbour covers as well, 0 to below 1."""
    margin: tuple[int, ...] | None = None
    """Voxels of 0 around the image, one number an axis; none where not given."""
    is_empty: Callable[[Float32[np.ndarray, "c *part"]], bool] | None = None
    """Whether what a window shows of the image is known to be background."""
    background: Float32[np.ndarray, " k"] | None = None
    """Logits of voxels that lie in empty windows only; needed where ``is_empty`` is given."""
    convention: Convention = "seg"
    """Of the border and of the blending."""
    first: int = 0
    """Row from which logits are wanted; what is said of earlier ones means nothing."""


def window_starts(size: int, patch: int, overlap: float) -> list[int]:
    """First voxels of windows that cover an axis, spread evenly.

    Neighbours share at least ``overlap`` of a patch; an axis not longer than the patch gets one.
    """
    if size <= patch:
        return [0]
    steps = int(np.ceil((size - patch) / max(1.0, patch * (1 - overlap))))
    return [round(i * (size - patch) / steps) for i in range(steps + 1)]


def predict_slabs(
    backend: Backend,
    image: Rows,
    tiling: Tiling,
    progress: Progress | None = None,
    counts: WindowCounts | None = None,
    *,
    in_bricks: bool = False,
) -> Iterator[Slab]:
    """Blended logits of an image, slab by slab along its first axis.

    The network runs while slabs are used, except where one window is all there is: that one runs
    when its slabs are asked for, since threads would cost more than they save.

    Args:
        backend: the network.
        image: prepared rows.
        tiling: how it is cut.
        progress: called with windows done and windows in all.
        counts: is filled in.
        in_bricks: a slab may hold a part of its lines, which takes half of the memory.

    Raises:
        BackendError: the network failed.
        ImageError: rows of the image cannot be read.
    """
    surrounded, starts = surrounded_windows(image, backend.patch, tiling)
    counts = counts or WindowCounts()
    counts.total = prod(map(len, starts))
    if counts.total == 1:
        return _only_window(surrounded, backend, tiling, counts, progress)
    stopped = Event()

    def tick(done: int, total: int) -> None:
        if stopped.is_set():
            raise InterruptedError
        if progress:
            progress(done, total)

    batches = batches_of(surrounded, starts, backend, tiling, counts)
    windows = in_turn(
        lambda batch: heard_by(counts, batch.rows, lambda: backend.run(batch.patches)),
        backend.callers,
        ahead(batches, AHEAD),
        counts,
        tick,
    )
    sizes = backend.patch, surrounded.shape, surrounded.inside
    how = tiling.background, tiling.convention
    if in_bricks and not tiling.first:
        slabs = blend_in_bricks(windows, starts, *sizes, *how)
    else:
        slabs = blend_windows(windows, *sizes, *how, first=tiling.first)
    return ahead(slabs, SLABS_AHEAD, stopped.set)


def _only_window(
    image: "Surrounded",
    backend: Backend,
    tiling: Tiling,
    counts: WindowCounts,
    progress: Progress | None,
) -> Iterator[Slab]:
    """The slabs of an image that fits in a patch: its logits need no weights."""
    window, part = image.windows((0,) * len(backend.patch))
    if tiling.is_empty and tiling.is_empty(part):
        assert tiling.background is not None
        counts.skipped = 1
        background = tiling.background.reshape(-1, *(1,) * len(backend.patch))
        logits = np.broadcast_to(background, (len(background), *backend.patch))
    else:
        patch = np.ascontiguousarray(window)[np.newaxis]
        logits = heard_by(counts, (0,), lambda: backend.run(patch))[0]
    if progress:
        progress(1, 1)
    inside = logits[(slice(None), *image.inside)]
    yield from slabs_of(inside.astype(np.float32, copy=False))


_Start = tuple[int, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """Windows that are run together."""

    starts: Sequence[_Start]
    patches: Float32[np.ndarray, "b c *patch"]

    @property
    def rows(self) -> tuple[int, ...]:
        """The first of each window."""
        return tuple(start[0] for start in self.starts)


class Surrounded:
    """An image with its border, of which the rows of one window are at hand."""

    def __init__(
        self, image: Rows, margin: Sequence[int], patch: Sequence[int], convention: Convention
    ) -> None:
        self._image, self._patch = image, tuple(patch)
        self._widths, self._mode = border(image.shape[1:], margin, patch, convention)
        self._mirrors_rows = self._mode == "symmetric" and any(self._widths[0])
        self.inside = tuple(
            slice(before, before + n)
            for n, (before, _) in zip(image.shape[1:], self._widths, strict=True)
        )
        self.shape = tuple(
            n + before + after
            for n, (before, after) in zip(image.shape[1:], self._widths, strict=True)
        )
        self._first = 0
        self._band: np.ndarray | None = None

    def windows(
        self, at: _Start
    ) -> tuple[Float32[np.ndarray, "c *patch"], Float32[np.ndarray, "c *part"]]:
        """The window that starts there, and the part of it that is image. Rows never go back."""
        band = self._band_at(at[0])
        window, part = [slice(None), slice(None)], [slice(None), slice(None)]
        for s, p, n, (before, _) in zip(
            at[1:], self._patch[1:], self._image.shape[2:], self._widths[1:], strict=True
        ):
            window.append(slice(s, s + p))
            part.append(slice(max(s, before), min(s + p, before + n)))
        before, n = self._widths[0][0], self._image.shape[1]
        part[1] = slice(max(before - at[0], 0), max(before + n - at[0], 0))
        return band[tuple(window)], band[tuple(part)]

    def _band_at(self, row: int) -> Float32[np.ndarray, "c *band"]:
        depth = self._patch[0]
        if self._band is None:
            self._band = np.empty((self._image.shape[0], depth, *self.shape[1:]), np.float32)
            self._fill(0, row)
        elif row > self._first:
            kept = max(0, depth - (row - self._first))
            for channel in self._band:  # in place: a wide image's band is most of the memory
                channel[:kept] = channel[depth - kept :]
            self._fill(kept, row)
        self._first = row
        return self._band

    def _fill(self, start: int, row: int) -> None:
        """Read the band's rows from ``start`` on, where its first is ``row``, a few at a time."""
        assert self._band is not None
        depth = self._patch[0]
        # rows beyond the image's end mirror those before it: they must be at hand
        at_once = depth if self._mirrors_rows else rows_at_once(len(self._band), self.shape[1:])
        for first in range(start, depth, at_once):
            last = min(first + at_once, depth)
            self._band[:, first:last] = self._read(row + first, row + last)

    def _read(self, start: int, stop: int) -> Float32[np.ndarray, "c *rows"]:
        before, n = self._widths[0][0], self._image.shape[1]
        low, high = max(start - before, 0), min(stop - before, n)
        if low >= high:
            return np.zeros((self._image.shape[0], stop - start, *self.shape[1:]), np.float32)
        rows = self._image.rows(low, high)
        widths = ((0, 0), (low + before - start, stop - before - high), *self._widths[1:])
        return rows if not any(map(sum, widths)) else np.pad(rows, widths, mode=self._mode)


def surrounded_windows(
    image: Rows, patch: tuple[int, ...], tiling: Tiling
) -> tuple[Surrounded, list[list[int]]]:
    """An image with its border, and along each axis where windows of it start."""
    margin = tiling.margin or (0,) * len(patch)
    surrounded = Surrounded(image, margin, patch, tiling.convention)
    sizes = zip(surrounded.shape, patch, strict=True)
    return surrounded, [window_starts(n, p, tiling.overlap) for n, p in sizes]


def batches_of(
    image: Surrounded,
    starts: Sequence[Sequence[int]],
    backend: Backend,
    tiling: Tiling,
    counts: WindowCounts,
) -> Iterator[Batch]:
    """Windows in the order of their starts, as many together as the backend wants."""
    first = tiling.first + image.inside[0].start if tiling.first else 0
    if first:
        counts.forget(backend.patch[0], first)
    chosen: list[_Start] = []
    patches: list[np.ndarray] = []
    for at in itertools.product(*starts):
        if at[0] + backend.patch[0] <= first:
            counts.before += 1
            continue
        window, part = image.windows(at)
        if tiling.is_empty and tiling.is_empty(part):
            counts.skipped += 1
            counts.skipped_at.append(at[0])
            continue
        chosen.append(at)
        patches.append(window[np.newaxis].copy())
        if len(chosen) >= backend.batch_size:  # which falls where memory runs out
            yield Batch(chosen, np.concatenate(patches))
            chosen, patches = [], []
    if chosen:
        yield Batch(chosen, np.concatenate(patches))


def heard_by(counts: WindowCounts, rows: tuple[int, ...], work: Callable[[], Answer]) -> Answer:
    """Answers, with what the networks saw meanwhile kept in ``counts``.

    Args:
        counts: is filled in.
        rows: the first of each window.
        work: gives the answers.
    """
    with listening() as heard:
        answers = work()
    counts.told += [(rows, each) for each in heard]
    return answers


def in_turn(
    ask: Callable[[Batch], Iterable[Answer]],
    callers: int,
    batches: Iterator[Batch],
    counts: WindowCounts,
    progress: Progress,
) -> Iterator[tuple[_Start, Answer]]:
    """Where each window starts and its answer, in order, with so many at work."""
    waiting: deque[tuple[Batch, Future[Iterable[Answer]]]] = deque()
    done, most = 0, 1 + callers  # until it is known how large answers are
    with leavable_pool(callers, "network") as pool:
        for batch in itertools.chain(batches, [None]):
            if batch is not None:
                waiting.append((batch, pool.submit(ask, batch)))
            while waiting and (batch is None or len(waiting) >= most):
                finished, running = waiting.popleft()
                answers = running.result()
                is_large = isinstance(answers, np.ndarray) and answers.nbytes >= LARGE_ANSWER
                most = callers + (1 if is_large else AHEAD)
                yield from zip(finished.starts, answers, strict=True)
                del answers, running  # before the next is waited for
                done += len(finished.starts)
                progress(min(done + counts.skipped + counts.before, counts.total), counts.total)
