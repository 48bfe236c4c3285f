"""Parts put together are the whole, whatever their sizes."""

from functools import partial
from itertools import pairwise
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import default_rng

from seg.images import Image
from seg.inference import Predictor, Tiling, WindowCounts, predict_slabs
from seg.inference.labels.decision import labels_of, probabilities_of
from seg.inference.tiling.blending import Slab
from seg.inference.tiling.empty import background_logits, emptiness
from seg.inference.tiling.restoring import restored
from seg.model_package import Empty, ModelPackage
from seg.transforms import Normalisation, Prepared, Preprocessing, prepare_rows, resample_rows
from seg.transforms.intensity import Scaling
from tests.packages import write_package

SIZES = st.lists(st.integers(1, 24), min_size=3, max_size=3)
SPACINGS = st.lists(st.sampled_from([0.6, 1.0, 1.7, 4.0]), min_size=3, max_size=3)


class Pointwise:
    """Three classes from one channel, voxel by voxel; 0 is background."""

    provider, callers = "numpy", 2

    def __init__(self, patch, batch_size=2):
        self.patch, self.batch_size = tuple(patch), batch_size

    def run(self, patches):
        return np.concatenate([-patches, patches, 1.5 * patches - 1], axis=1)


@given(shape=SIZES, grid=SIZES, dims=st.integers(2, 3), cuts=st.sets(st.integers(1, 23)))
@settings(deadline=None)
def test_slabs_resampled_one_by_one_are_the_whole_resampled(shape, grid, dims, cuts):
    shape, grid = tuple(shape[:dims]), tuple(grid[:dims])
    logits = default_rng(0).normal(size=(3, *grid)).astype(np.float32)
    edges = [0, *sorted(cut for cut in cuts if cut < grid[0]), grid[0]]
    slabs = [Slab(a, b, logits[:, a:b]) for a, b in pairwise(edges)]
    with patch("seg.inference.tiling.blending.SLAB_BYTES", 1000):
        parts = list(restored(iter(slabs), grid, shape))
    assert [part.start for part in parts[1:]] == [part.stop for part in parts[:-1]]
    whole = resample_rows(logits, shape, range(shape[0])) if shape != grid else logits
    np.testing.assert_allclose(
        np.concatenate([part.logits for part in parts], axis=1), whole, atol=1e-6
    )


def with_input(package, **changes):
    card = package.card
    changed = card.model_copy(update={"input": card.input.model_copy(update=changes)})
    return ModelPackage(package.path, changed)


@pytest.fixture(scope="module")
def packages(tiny_package, tiny_package_3d):
    return {2: ModelPackage.load(tiny_package), 3: ModelPackage.load(tiny_package_3d)}


@given(
    dims=st.integers(2, 3),
    shape=SIZES,
    size=st.lists(st.integers(6, 16), min_size=3, max_size=3),
    spacing=SPACINGS,
    target=st.none() | SPACINGS,
    overlap=st.sampled_from([0.0, 0.3, 0.5]),
    margin=st.none() | st.lists(st.integers(0, 5), min_size=3, max_size=3),
)
@settings(max_examples=25, deadline=None)
def test_a_streamed_image_gets_the_mask_of_the_whole_image(
    packages, dims, shape, size, spacing, target, overlap, margin
):
    preprocessing = Preprocessing(
        spacing=tuple(target[:dims]) if target else None,
        margin=tuple(margin[:dims]) if margin else None,
        normalisation=(Normalisation(kind="zscore"),),
    )
    package = with_input(packages[dims], overlap=overlap, preprocessing=preprocessing)
    predictor = Predictor(package, Pointwise(size[:dims]))
    array = default_rng(1).uniform(0, 200, (1, *shape[:dims])).astype(np.float32)
    image = Image(array, spacing=tuple(spacing[:dims]))
    whole = predictor.predict_probabilities(image)
    in_parts = partial(prepare_rows, whole_bytes=0)
    with (
        patch("seg.inference.slab_logits.prepare_rows", in_parts),
        patch("seg.transforms.rows.PART_BYTES", 500),
        patch("seg.inference.tiling.blending.SLAB_BYTES", 500),
    ):
        streamed = predictor.predict_probabilities(image)
        labels = predictor.predict(image).array
    np.testing.assert_allclose(streamed, whole, atol=1e-3)
    sure = np.sort(whole, axis=0)[-1] - np.sort(whole, axis=0)[-2] > 1e-2
    np.testing.assert_array_equal(labels[sure], whole.argmax(axis=0)[sure])


def test_probabilities_and_labels_tell_the_same(packages):
    predictor = Predictor(packages[2])
    image = Image(default_rng(0).integers(0, 255, (1, 50, 70)).astype(np.uint8))
    probabilities = predictor.predict_probabilities(image)
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, rtol=1e-5)
    np.testing.assert_array_equal(probabilities.argmax(axis=0), predictor.predict(image).array)


def test_regions_have_a_probability_each(tmp_path):
    package = ModelPackage.load(write_package(tmp_path / "package", task="regions"))
    probabilities = Predictor(package).predict_probabilities(
        Image(np.full((1, 40, 40), 128, np.uint8))
    )
    assert probabilities.shape == (2, 40, 40)
    assert (probabilities[0, 5:-5, 5:-5] > 0.9).all()
    assert (probabilities[1, 5:-5, 5:-5] < 0.1).all()


@given(
    shape=st.lists(st.integers(1, 40), min_size=2, max_size=3),
    size=st.lists(st.integers(4, 12), min_size=3, max_size=3),
    boxes=st.lists(st.tuples(st.integers(0, 39), st.integers(1, 9)), max_size=4),
    overlap=st.sampled_from([0.0, 0.5]),
    margin=st.none() | st.just((2, 1, 3)),
    side=st.sampled_from(["below", "above"]),
)
@settings(max_examples=40, deadline=None)
def test_skipping_empty_windows_changes_no_voxel_that_is_not_empty(
    shape, size, boxes, overlap, margin, side
):
    dims = len(shape)
    sign = 1 if side == "below" else -1
    array = np.full((1, *shape), -5.0, np.float32)
    for start, length in boxes:
        array[(0, *(slice(start % n, start % n + length) for n in shape))] = 2
    image = Prepared(sign * array, tuple(shape), ())
    rule = Empty(side=side, limits=(sign * -4.0,))

    class Network(Pointwise):
        def run(self, patches):
            return super().run(sign * patches)

    tilings = [
        Tiling(overlap=overlap, margin=margin and margin[:dims], **skip)
        for skip in (
            {},
            {
                "is_empty": emptiness(rule, [Scaling.of(0.0, 1.0)]),
                "background": background_logits(3, "exclusive"),
            },
        )
    ]
    counts = WindowCounts()
    asked, skipped = (
        np.concatenate(
            [
                slab.logits
                for slab in predict_slabs(Network(size[:dims]), image, tiling, counts=counts)
            ],
            axis=1,
        )
        for tiling in tilings
    )
    inside = array[0] > -4
    np.testing.assert_array_equal(skipped[:, inside], asked[:, inside])
    np.testing.assert_array_equal(labels_of(skipped), labels_of(asked))
    if not boxes:
        assert counts.skipped == counts.total


def test_the_package_says_what_is_empty_and_the_predictor_what_was_skipped(packages):
    package = with_input(packages[2], empty=Empty(side="below", limits=(10.0,)))
    array = np.zeros((1, 128, 160), np.uint8)
    array[0, 40:70, 60:90] = 204
    counts, all_counts = WindowCounts(), WindowCounts()
    skipping = Predictor(package).predict(Image(array), counts=counts)
    asking = Predictor(package, skip_empty=False).predict(Image(array), counts=all_counts)
    np.testing.assert_array_equal(skipping.array, asking.array)
    assert counts.total == all_counts.total == 7 * 9
    assert 0 < counts.skipped < counts.total
    assert all_counts.skipped == 0


def test_an_image_that_is_empty_altogether_is_background(packages):
    package = with_input(packages[2], empty=Empty(side="below", limits=(10.0,)))
    seen = []
    mask = Predictor(package).predict(
        Image(np.zeros((1, 100, 90), np.uint8)), progress=lambda *at: seen.append(at)
    )
    assert not mask.array.any()


def test_the_softmax_of_background_logits_is_background():
    assert probabilities_of(background_logits(3, "exclusive")[:, None])[0, 0] > 0.9999
    assert (probabilities_of(background_logits(2, "regions")[:, None], "regions") < 1e-4).all()
