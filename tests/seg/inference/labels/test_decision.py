import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import default_rng

from seg.inference.labels.decision import labels_of, probabilities_of, probability_error


@given(st.integers(0, 99), st.integers(1, 7))
def test_a_voxel_gets_the_class_of_the_largest_logit(seed, classes):
    logits = default_rng(seed).integers(-2, 3, size=(classes, 4, 5)).astype(np.float32)
    np.testing.assert_array_equal(labels_of(logits), logits.argmax(axis=0))


def test_later_regions_are_painted_over_earlier_ones():
    logits = np.array([[1, 1, -1, -1], [-1, 1, 1, -1]], np.float32)
    np.testing.assert_array_equal(labels_of(logits, "regions"), [1, 2, 2, 0])


def test_classes_share_their_probability_and_regions_do_not():
    logits = np.array([[[0.0]], [[np.log(3)]]], np.float32)
    np.testing.assert_allclose(probabilities_of(logits).ravel(), [0.25, 0.75], rtol=1e-6)
    np.testing.assert_allclose(probabilities_of(logits, "regions").ravel(), [0.5, 0.75], rtol=1e-6)


def test_an_error_of_a_single_region_is_seen():
    right, wrong = np.full((1, 1, 2, 2), 4, np.float32), np.full((1, 1, 2, 2), -4, np.float32)
    assert probability_error(wrong, right, "regions").worst == pytest.approx(0.964, abs=1e-3)
