"""Marks that people set in a mask: they are obeyed, near them, and nothing else changes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from seg.errors import ConfigError
from seg.inference.repair import NO_SEED, repaired


def discs(size, middles, radius):
    """Numbered discs, or balls."""
    grid = np.indices(size)
    numbers = np.zeros(size, np.int32)
    for number, middle in enumerate(middles, start=1):
        away = grid - np.reshape(middle, (-1, *(1,) * len(size)))
        numbers[(away**2).sum(axis=0) < radius**2] = number
    return numbers


def probabilities_of(numbers):
    inside = ndimage.gaussian_filter((numbers > 0).astype(np.float32), 1.2)
    return np.stack([1 - inside, inside])


def seeds_at(shape, *marks):
    seeds = np.full(shape, NO_SEED)
    for place, label in marks:
        seeds[place] = label
    return seeds


def iou(found, wanted):
    return (found & wanted).sum() / (found | wanted).sum()


TRUTH = discs((96, 96), [(24, 24), (24, 70), (70, 24), (70, 70)], 13)


def test_a_click_brings_back_an_object_that_was_missed():
    mask = np.where(TRUTH == 2, 0, TRUTH)
    found = repaired(mask, seeds_at(mask.shape, ((24, 70), 9)), probabilities_of(TRUTH))
    assert iou(found == 9, TRUTH == 2) > 0.9
    np.testing.assert_array_equal(np.where(found == 9, 0, found), mask)


def test_not_this_takes_away_one_object_and_no_other():
    found = repaired(TRUTH, seeds_at(TRUTH.shape, ((70, 70), 0)), probabilities_of(TRUTH))
    np.testing.assert_array_equal(found, np.where(TRUTH == 4, 0, TRUTH))


def test_an_object_that_was_merged_is_cut_where_its_neck_is():
    truth = discs((60, 90), [(30, 30), (30, 55)], 14)
    merged = (truth > 0).astype(np.int32)
    image = truth.copy().astype(np.float32)
    image[:, 42:44] *= 0.5
    seeds = seeds_at(merged.shape, ((30, 28), 1), ((30, 57), 2))
    found = repaired(merged, seeds, probabilities_of(truth), image[None])
    assert iou(found == 2, truth == 2) > 0.8
    assert iou(found == 1, truth == 1) > 0.8


def test_one_mark_of_a_new_object_cuts_it_off_the_one_that_it_was_merged_with():
    truth = discs((60, 90), [(30, 30), (30, 55)], 14)
    seeds = seeds_at(truth.shape, ((30, 57), 7))
    found = repaired((truth > 0).astype(np.int32), seeds, probabilities_of(truth), are_objects=True)
    assert iou(found == 7, truth == 2) > 0.8
    assert iou(found == 1, truth == 1) > 0.8


def test_a_volume_is_repaired_in_a_box_whatever_its_slices_are_apart():
    truth = discs((12, 40, 40), [(6, 20, 20)], 6)
    found = repaired(
        np.zeros_like(truth),
        seeds_at(truth.shape, ((6, 20, 20), 1)),
        probabilities_of(truth),
        spacing=(2.0, 1.0, 1.0),
        reach=12.0,
    )
    assert iou(found == 1, truth == 1) > 0.6


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_mark_is_obeyed_and_what_is_far_stays(data):
    places = st.tuples(st.integers(0, 95), st.integers(0, 95))
    marks = data.draw(st.dictionaries(places, st.integers(0, 6), min_size=1, max_size=4))
    reach = data.draw(st.integers(2, 20))
    seeds = seeds_at(TRUTH.shape, *marks.items())
    found = repaired(TRUTH, seeds, probabilities_of(TRUTH), reach=float(reach))
    for place, label in marks.items():
        assert found[place] == label
    away = ndimage.distance_transform_edt((seeds == NO_SEED) | (seeds == TRUTH))
    if ((seeds != NO_SEED) & (seeds != TRUTH)).any():
        np.testing.assert_array_equal(found[away > reach], TRUTH[away > reach])
    else:
        np.testing.assert_array_equal(found, TRUTH)


def test_a_reach_of_nothing_is_refused():
    seeds = seeds_at(TRUTH.shape, ((24, 70), 0))
    with pytest.raises(ConfigError, match="above 0"):
        repaired(TRUTH, seeds, probabilities_of(TRUTH), reach=0.0)


def test_a_pale_object_beside_bright_ones_is_brought_back_by_one_mark():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:80, :80]
    pale = (y - 40) ** 2 + (x - 26) ** 2 < 11**2
    bright = (y - 40) ** 2 + (x - 60) ** 2 < 11**2
    image = rng.normal(100 + 25 * pale + 2000 * bright, 4).astype(np.float32)[None]
    nothing = np.where(bright, 0.9, 0.02).astype(np.float32)
    labels = bright.astype(np.int32)
    seeds = np.full(labels.shape, NO_SEED)
    seeds[40, 26] = 2
    new = repaired(labels, seeds, np.stack([1 - nothing, nothing]), image, are_objects=True)
    found = new == 2
    assert (found & pale).sum() / (found | pale).sum() > 0.8
    np.testing.assert_array_equal(new == 1, bright)
