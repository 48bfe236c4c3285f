"""An object of the network that does not stand out as those of the training is background."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import default_rng

from seg.errors import PackageError
from seg.images import Image
from seg.inference import Predictor, WindowCounts
from seg.inference.labels.decision import labels_of
from seg.inference.tiling.blending import Slab
from seg.inference.tiling.empty import background_logits
from seg.inference.tiling.standing import channels_of, where_something_stands_out
from seg.model_package import ModelPackage, ObjectLevel, StandsOut
from seg.transforms import CommonScale, Normalisation, Prepared
from tests.packages import INSTANCES, write_package

RULE = StandsOut(
    levels=(ObjectLevel(side="above", limit=1.0),), smoothing=(3, 3), core=(5, 5), reach=(4, 4)
)
SCALE = CommonScale(bottom=-50, middle=(-50, 400), top=400, median=100, spread=60)
REFERENCE = Normalisation(kind="reference", low=0, high=400, mean=0, std=255, scale=SCALE)


def card_with(package, **changes):
    card = package.card
    return card.model_copy(update={"input": card.input.model_copy(update=changes)})


@pytest.fixture(scope="module")
def card(tiny_package):
    return card_with(ModelPackage.load(tiny_package), stands_out=RULE)


def kept_of(objects, intensities, card, cuts=(), counts=None):
    """Labels that are left of these, of slabs that are cut there."""
    logits = -np.abs(objects - np.arange(card.outputs, dtype=float).reshape(-1, 1, 1))
    rows = len(objects)
    edges = [0, *sorted(cut for cut in cuts if 0 < cut < rows), rows]
    slabs = (Slab(a, b, logits[:, a:b].astype(np.float32)) for a, b in pairwise(edges))
    image = Prepared(intensities[None].astype(np.float32), objects.shape, ())
    background = background_logits(card.outputs, card.task)
    found = list(where_something_stands_out(slabs, image, card, background, counts))
    assert [slab.start for slab in found] == edges[:-1]
    return labels_of(np.concatenate([slab.logits for slab in found], axis=1))


def boxes(shape, *places):
    """1 in boxes of ``(row, column, size)``."""
    array = np.zeros(shape, np.uint8)
    for row, column, size in places:
        array[row : row + size, column : column + size] = 1
    return array


def test_an_object_stays_whole_and_what_noise_made_goes(card):
    objects = boxes((40, 40), (4, 4, 8), (25, 25, 6))
    counts = WindowCounts()
    kept = kept_of(objects, 2.0 * boxes((40, 40), (4, 4, 8)), card, counts=counts)
    np.testing.assert_array_equal(kept, boxes((40, 40), (4, 4, 8)))
    assert counts.unfounded == 36


def test_noise_beside_an_object_goes_though_it_lies_within_reach(card):
    objects = boxes((30, 30), (4, 4, 8), (4, 13, 3))
    kept = kept_of(objects, 2.0 * boxes((30, 30), (4, 4, 8)), card)
    np.testing.assert_array_equal(kept, boxes((30, 30), (4, 4, 8)))


def test_a_bright_speck_makes_no_object(card):
    objects = boxes((30, 30), (10, 10, 9))
    assert not kept_of(objects, 9.0 * boxes((30, 30), (14, 14, 1)), card).any()


def test_objects_on_bright_ground_are_dark(card):
    level = ObjectLevel(side="below", limit=1.0)
    dark = card_with_rule(card, RULE.model_copy(update={"levels": (level,)}))
    objects = boxes((40, 40), (4, 4, 8), (25, 25, 6))
    kept = kept_of(objects, 2 - 2.0 * boxes((40, 40), (4, 4, 8)), dark)
    np.testing.assert_array_equal(kept, boxes((40, 40), (4, 4, 8)))


def test_a_rule_of_one_class_leaves_the_others_as_they_are(card):
    """The kernel of a cell that does not stand out is the cell's; that of noise too."""
    of_kernels = card_with_rule(card, RULE.model_copy(update={"classes": (2,)}))
    cells = boxes((40, 40), (2, 2, 14), (22, 22, 14))
    kernels = boxes((40, 40), (5, 5, 8), (25, 25, 8))
    counts = WindowCounts()
    bright = 2.0 * boxes((40, 40), (5, 5, 8))
    kept = kept_of(cells + kernels, bright, of_kernels, counts=counts)
    np.testing.assert_array_equal(kept, cells + boxes((40, 40), (5, 5, 8)))
    assert (counts.unfounded, counts.founded) == (64, 64)


def test_with_a_class_goes_the_border_of_its_objects(card):
    borders = INSTANCES.model_copy(update={"encoding": "border", "channels_for": ("border",)})
    told_apart = card.model_copy(update={"instances": borders})
    assert channels_of(told_apart, (2,)) == [2, card.outputs + 1]
    assert channels_of(card, (2,)) == [2]


def card_with_rule(card, rule):
    spec = card.input.model_copy(update={"stands_out": rule})
    return card.model_copy(update={"input": spec})


@given(
    objects=st.lists(st.tuples(*[st.integers(0, 30)] * 2, st.integers(1, 12)), max_size=6),
    bright=st.lists(st.tuples(*[st.integers(0, 30)] * 2, st.integers(1, 12)), max_size=4),
    cuts=st.lists(st.integers(1, 34), max_size=6),
    reach=st.tuples(st.integers(0, 9), st.integers(0, 9)),
)
@settings(max_examples=60, deadline=None)
def test_slabs_change_nothing_of_what_stays(card, objects, bright, cuts, reach):
    card = card_with_rule(card, RULE.model_copy(update={"reach": reach}))
    labels, intensities = boxes((35, 33), *objects), 2.0 * boxes((35, 33), *bright)
    whole = kept_of(labels, intensities, card)
    np.testing.assert_array_equal(kept_of(labels, intensities, card, cuts), whole)
    assert ((whole == 0) | (whole == labels)).all()


def predictor_of(folder, **changes):
    fields = {
        "stands_out": RULE.model_copy(update={"levels": (ObjectLevel(side="above", limit=0.9),)}),
        "preprocessing": {"normalisation": [REFERENCE]},
        **changes,
    }
    return Predictor(ModelPackage.load(write_package(folder / "package", **fields)))


@pytest.mark.parametrize("is_on_scale", [True, False])
def test_only_where_intensities_mean_what_they_meant_is_an_object_let_go(tmp_path, is_on_scale):
    """150 is a cytoplasm to the network, and below all objects of the training."""
    predictor = predictor_of(tmp_path)
    array = default_rng(0).normal(100, 3, (1, 60, 70)).astype(np.float32)
    array[0, 10:30, 10:30] = 150
    array[0, 40:52, 40:52] = 250
    found = predictor.segment(Image(array if is_on_scale else array + 400))
    assert found.mask.array[44:48, 44:48].all()
    assert bool(found.mask.array[15:25, 15:25].any()) is not is_on_scale
    said = [text for text in found.quality.warnings if "nothing stands out" in text]
    assert bool(said) is is_on_scale
    assert bool(found.windows.unfounded) is is_on_scale


@pytest.mark.parametrize(
    ("change", "words"),
    [({"reach": (4, 4, 4)}, "one number an axis"), ({"classes": (3,)}, "indices of classes")],
)
def test_a_rule_that_does_not_fit_the_model_is_refused(tmp_path, change, words):
    rule = RULE.model_copy(update=change)
    with pytest.raises((PackageError, ValueError), match=words):
        write_package(tmp_path / "package", stands_out=rule.model_dump())
