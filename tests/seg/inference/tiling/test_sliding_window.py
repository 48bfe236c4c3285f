import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import default_rng

from seg.errors import BackendError
from seg.inference import Tiling, predict_slabs
from seg.inference.tiling import sliding_window
from seg.inference.tiling.blending import blend_windows, gaussian_weights
from seg.inference.tiling.sliding_window import Batch, WindowCounts, in_turn, window_starts
from seg.transforms import Prepared, border


class Pointwise:
    """A network that looks at one voxel at a time: tiling must not change it."""

    provider = "numpy"

    def __init__(self, patch, batch_size=1, callers=2):
        self.patch, self.batch_size, self.callers = tuple(patch), batch_size, callers
        self.batches = []

    def run(self, patches):
        self.batches.append(len(patches))
        return np.concatenate([3 * patches, -patches], axis=1)


def rows_of(array):
    return Prepared(array, array.shape[1:], ())


def stitched(backend, array, **tiling):
    slabs = list(predict_slabs(backend, rows_of(array), Tiling(**tiling)))
    assert slabs[0].start == 0
    assert [slab.start for slab in slabs[1:]] == [slab.stop for slab in slabs[:-1]]
    return np.concatenate([slab.logits for slab in slabs], axis=1)


@given(
    shape=st.lists(st.integers(1, 40), min_size=2, max_size=3),
    patch=st.lists(st.integers(1, 16), min_size=3, max_size=3),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 0.75]),
    batch_size=st.integers(1, 5),
    margin=st.lists(st.integers(0, 9), min_size=3, max_size=3),
)
@settings(max_examples=60, deadline=None)
def test_tiling_a_pointwise_network_changes_nothing(shape, patch, overlap, batch_size, margin):
    array = default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    backend = Pointwise(patch[: len(shape)], batch_size)
    expected = np.concatenate([3 * array, -array])
    tiled = stitched(backend, array, overlap=overlap, margin=tuple(margin[: len(shape)]))
    np.testing.assert_allclose(tiled, expected, rtol=1e-5, atol=1e-5)


@given(size=st.integers(1, 500), patch=st.integers(1, 64), overlap=st.floats(0, 0.9))
def test_windows_cover_the_axis_and_overlap_enough(size, patch, overlap):
    starts = window_starts(size, patch, overlap)
    assert starts[0] == 0
    assert starts[-1] == max(0, size - patch)
    gaps = np.diff(starts)
    assert (gaps > 0).all()
    assert (gaps <= max(1, np.ceil(patch * (1 - overlap)))).all()


def test_weights_are_largest_in_the_centre_and_never_zero():
    weights = gaussian_weights((9, 15))
    assert np.unravel_index(weights.argmax(), weights.shape) == (4, 7)
    assert weights.max() == pytest.approx(1)
    assert weights.min() > 0


def test_weights_fall_as_a_gaussian_of_an_eighth_of_the_patch():
    # Isensee et al., nnU-Net, Nature Methods 18 (2021): sigma is 1/8 of the patch's size
    weights = gaussian_weights((65,))
    assert weights[32 + 8] == pytest.approx(np.exp(-0.5 * (8 / (65 / 8)) ** 2), rel=1e-5)
    assert weights[32 - 16] == pytest.approx(np.exp(-0.5 * (16 / (65 / 8)) ** 2), rel=1e-5)


@given(
    shape=st.lists(st.integers(1, 12), min_size=2, max_size=3),
    margin=st.integers(0, 2),
    convention=st.sampled_from(["seg", "nnunet"]),
    seed=st.integers(0, 99),
)
@settings(deadline=None)
def test_an_image_of_one_window_gets_the_logits_that_blending_gives(
    shape, margin, convention, seed
):
    margin = margin if convention == "seg" else 0  # nnU-Net has none
    patch = tuple(n + 2 * margin + seed % 3 for n in shape)
    said = default_rng(seed).normal(size=(1, 3, *patch)).astype(np.float32)
    backend = Pointwise(patch)
    backend.run = lambda patches: said
    widths, _ = border(shape, (margin,) * len(shape), patch, convention)
    inside = tuple(slice(low, low + n) for (low, _), n in zip(widths, shape, strict=True))
    windows = iter([((0,) * len(shape), said[0])])
    blended = list(blend_windows(windows, patch, patch, inside, convention=convention))
    found = stitched(
        backend,
        np.zeros((1, *shape), np.float32),
        margin=(margin,) * len(shape),
        convention=convention,
    )
    np.testing.assert_allclose(found, np.concatenate([x.logits for x in blended], axis=1), 1e-6)


def test_one_window_is_run_where_it_is_asked_for():
    class Watched(Pointwise):
        def run(self, patches):
            self.thread = threading.current_thread()
            return super().run(patches)

    backend, seen = Watched((8, 8)), []
    slabs = predict_slabs(
        backend,
        rows_of(np.zeros((1, 5, 8), np.float32)),
        Tiling(),
        progress=lambda *at: seen.append(at),
    )
    assert [slab.logits.shape for slab in slabs] == [(2, 5, 8)]
    assert backend.thread is threading.current_thread()
    assert seen == [(1, 1)]


def test_progress_counts_all_windows():
    seen = []
    array = np.zeros((1, 20, 20), np.float32)
    list(
        predict_slabs(
            Pointwise((8, 8)), rows_of(array), Tiling(), progress=lambda *at: seen.append(at)
        )
    )
    assert seen == [(i, 16) for i in range(1, 17)]


def test_batches_are_as_large_as_the_backend_wants():
    backend = Pointwise((8, 8), batch_size=3, callers=1)
    stitched(backend, np.zeros((1, 20, 20), np.float32))
    assert backend.batches == [3, 3, 3, 3, 3, 1]


def test_as_many_runs_go_side_by_side_as_the_backend_wants():
    meeting = threading.Barrier(3, timeout=10)

    class Meeting(Pointwise):
        def run(self, patches):
            meeting.wait()
            return super().run(patches)

    stitched(Meeting((8,) * 2, callers=3), np.zeros((1, 8, 24), np.float32), overlap=0.0)


def test_the_network_s_error_reaches_the_caller():
    class Broken(Pointwise):
        def run(self, patches):
            raise BackendError("out of memory")

    with pytest.raises(BackendError, match="out of memory"):
        stitched(Broken((8, 8)), np.zeros((1, 30, 30), np.float32))


@pytest.mark.parametrize("size", ["small", "large"])
def test_large_answers_do_not_pile_up(monkeypatch, size):
    monkeypatch.setattr(sliding_window, "LARGE_ANSWER", 0 if size == "large" else 2**40)
    taken = []

    def batches():
        for number in range(9):
            taken.append(number)
            yield Batch([(number,)], np.zeros((1, 1, 4), np.float32))

    counts = WindowCounts(total=9)
    answers = in_turn(lambda batch: batch.patches, 1, batches(), counts, lambda *_: None)
    waiting = [len(taken) - number for number, _ in enumerate(answers)]
    assert len(waiting) == 9
    assert max(waiting[1:]) == (2 if size == "large" else 3)
