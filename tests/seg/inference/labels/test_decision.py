import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import default_rng

from seg.inference.labels.decision import decided, labels_of, probabilities_of, probability_error
from seg.inference.labels.selection import Selection
from seg.metrics import SelfAssessment
from seg.model_package import ModelPackage
from tests.packages import write_package


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


@pytest.mark.parametrize("task", ["exclusive", "regions"])
@pytest.mark.parametrize("temperature", [0.5, 4.0])
def test_a_threshold_is_one_of_tempered_probabilities(task, temperature, tmp_path):
    card = ModelPackage.load(write_package(tmp_path / "p", task=task)).card
    quality = SelfAssessment(temperature=temperature)
    card = card.model_copy(update={"quality": quality})
    logits = default_rng(0).normal(0, 3, (card.outputs, 6, 7)).astype(np.float32)
    shares = probabilities_of(logits / np.float32(temperature), task)
    if task == "regions":
        expected = np.where(shares[1] > 0.7, 2, np.where(shares[0] > 0.7, 1, 0))
    else:
        expected = np.where(shares.max(axis=0) > 0.7, logits.argmax(axis=0), 0)
    np.testing.assert_array_equal(decided(logits, card, Selection(threshold=0.7)), expected)
