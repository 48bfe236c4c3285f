"""Blending brick by brick, beside blending of one patch's depth."""

import tracemalloc
import weakref
from itertools import product

import numpy as np
import pytest

from seg.inference.tiling.blending import blend_windows
from seg.inference.tiling.bricks import blend_in_bricks
from seg.inference.tiling.sliding_window import window_starts

PATCH, CLASSES = (8, 6, 10), 3


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.7])
@pytest.mark.parametrize("convention", ["seg", "nnunet"])
@pytest.mark.parametrize("empty", [0.0, 0.4, 1.0], ids=["all", "some", "none"])
def test_bricks_are_the_means_of_whole_rows(overlap, convention, empty, monkeypatch):
    monkeypatch.setattr("seg.inference.tiling.blending.SLAB_BYTES", 2000)
    rng = np.random.default_rng(0)
    shape, inside = (21, 17, 13), (slice(2, 20), slice(3, 17), slice(0, 11))
    starts = [window_starts(n, p, overlap) for n, p in zip(shape, PATCH, strict=True)]
    windows = [
        (at, rng.normal(size=(CLASSES, *PATCH)).astype(np.float32))
        for at in product(*starts)
        if rng.uniform() >= empty
    ]
    background = np.arange(CLASSES, dtype=np.float32) if empty else None
    given = PATCH, shape, inside, background, convention
    wanted = np.concatenate([slab.logits for slab in blend_windows(iter(windows), *given)], axis=1)
    found, held = np.full_like(wanted, np.nan), []
    for slab in blend_in_bricks(iter(windows), starts, *given):
        held.append((slab.start, slab.lines.start))
        found[:, slab.start : slab.stop, slab.lines] = slab.logits
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    assert len(set(held)) == len(held)
    cuts = {line: [row for row, at in held if at == line] for _, line in held}
    assert len({tuple(rows) for rows in cuts.values()}) == 1


def test_no_brick_is_held_that_no_window_has_reached(monkeypatch):
    """Wherever windows start: those of 64 rows that are 31 apart took twice as much."""
    monkeypatch.setattr("seg.inference.tiling.blending.SLAB_BYTES", 40_000)
    patch, shape, classes = (8, 8, 16), (45, 96, 16), 30
    starts = [window_starts(n, p, 0.5) for n, p in zip(shape, patch, strict=True)]
    logits = np.ones((classes, *patch), np.float32)
    slabs = blend_in_bricks(
        ((at, logits) for at in product(*starts)),
        starts,
        patch,
        shape,
        [slice(0, n) for n in shape],
    )
    tracemalloc.start()
    assert sum(slab.logits.size for slab in slabs) == classes * np.prod(shape)
    _, held = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    a_patch_s_depth = 4 * classes * patch[0] * np.prod(shape[1:])
    assert held < 0.9 * a_patch_s_depth


@pytest.mark.parametrize("in_bricks", [True, False])
def test_no_answer_is_held_while_the_next_one_is_waited_for(in_bricks):
    shape = (21, 17, 13)
    starts = [window_starts(n, p, 0.5) for n, p in zip(shape, PATCH, strict=True)]
    answers = []

    def windows():
        for at in product(*starts):
            assert all(answer() is None for answer in answers), "its memory is for the next one"
            logits = np.ones((CLASSES, *PATCH), np.float32)
            answers.append(weakref.ref(logits))
            yield at, logits
            del logits

    sizes = PATCH, shape, [slice(0, n) for n in shape]
    slabs = (
        blend_in_bricks(windows(), starts, *sizes)
        if in_bricks
        else blend_windows(windows(), *sizes)
    )
    assert sum(slab.logits.size for slab in slabs) == CLASSES * np.prod(shape)
