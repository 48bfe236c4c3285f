import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from seg.metrics import confusion_matrix, dice, dice_per_class, iou, iou_per_class

LABELS = arrays.arrays(np.uint8, (5, 6), elements=st.integers(0, 3))


def box(start, stop):
    mask = np.zeros((10, 10), bool)
    mask[:, start:stop] = True
    return mask


@pytest.mark.parametrize(
    ("reference", "expected_dice", "expected_iou"),
    [
        pytest.param(box(2, 6), 1.0, 1.0, id="same"),
        pytest.param(box(4, 8), 0.5, 1 / 3, id="half overlapping"),
        pytest.param(box(2, 4), 2 / 3, 0.5, id="half of it"),
        pytest.param(box(6, 9), 0.0, 0.0, id="beside it"),
        pytest.param(box(0, 0), 0.0, 0.0, id="nothing there"),
    ],
)
def test_overlap_of_boxes_equals_the_hand_count(reference, expected_dice, expected_iou):
    assert dice(box(2, 6), reference) == pytest.approx(expected_dice)
    assert iou(box(2, 6), reference) == pytest.approx(expected_iou)


def test_two_empty_masks_have_no_score():
    assert math.isnan(dice(box(0, 0), box(0, 0)))
    assert math.isnan(iou(box(0, 0), box(0, 0)))


@settings(deadline=None)
@given(LABELS, LABELS)
def test_dice_is_symmetric_and_follows_from_iou(one, other):
    a, b = one > 1, other > 1
    np.testing.assert_equal(dice(a, b), dice(b, a))
    np.testing.assert_allclose(dice(a, b), 2 * iou(a, b) / (1 + iou(a, b)))


@settings(deadline=None)
@given(LABELS, LABELS)
def test_the_confusion_matrix_scores_every_class_as_its_masks_do(prediction, reference):
    confusion = confusion_matrix(prediction, reference, 4)
    assert confusion.sum() == prediction.size
    pairs = [(prediction == k, reference == k) for k in range(4)]
    np.testing.assert_allclose(dice_per_class(confusion), [dice(*pair) for pair in pairs])
    np.testing.assert_allclose(iou_per_class(confusion), [iou(*pair) for pair in pairs])


def test_rows_are_the_reference_and_columns_the_prediction():
    confusion = confusion_matrix(np.array([0, 1, 1]), np.array([0, 0, 1]), 2)
    assert confusion.tolist() == [[1, 1], [0, 1]]


def test_counting_in_blocks_loses_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    prediction, reference = rng.integers(0, 3, (2, 8, 9))
    whole = confusion_matrix(prediction, reference, 3)
    monkeypatch.setattr("seg.metrics.overlap.BLOCK", 7)
    np.testing.assert_array_equal(confusion_matrix(prediction, reference, 3), whole)


@pytest.mark.parametrize("wrong", [-1, 3])
def test_a_label_that_is_no_class_is_refused(wrong):
    right = np.zeros(4, int)
    with pytest.raises(ValueError, match="from 0 to 2, the prediction holds"):
        confusion_matrix(right + wrong, right, 3)
    with pytest.raises(ValueError, match="from 0 to 2, the reference holds"):
        confusion_matrix(right, right + wrong, 3)
