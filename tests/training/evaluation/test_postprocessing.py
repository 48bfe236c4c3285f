"""Keeping the largest component, where it helps."""

import numpy as np
import pytest

from seg.images import ClassInfo, Mask
from seg.inference.labels.postprocess import postprocess
from seg.model_package import Postprocessing
from training.dataset import Legend
from training.evaluation.postprocessing import choose_postprocessing

CLASSES = tuple(
    ClassInfo(index=i, name=name, color=(i, i, i))
    for i, name in enumerate(("background", "organ", "lesion"))
)
LEGEND = Legend(CLASSES)


def mask(**boxes):
    """Of boxes (first, last) along a strip, by class name; several by a list."""
    labels = np.zeros((3, 40), np.uint8)
    for info in CLASSES[1:]:
        for first, last in boxes.get(info.name, []):
            labels[:, first:last] = info.index
    return Mask(labels)


REFERENCE = mask(organ=[(2, 12)], lesion=[(20, 24), (30, 32)])


def chosen(*predictions, reference=REFERENCE):
    return choose_postprocessing([(each, reference) for each in predictions], LEGEND)


def test_it_is_kept_for_the_class_that_it_helps_and_for_no_other():
    # a stray bit of organ; both lesions are there
    rules, tried = chosen(mask(organ=[(2, 12), (36, 38)], lesion=[(20, 24), (30, 32)]))
    assert rules == Postprocessing(largest_component=("organ",))
    by_rule = {each.rule: each for each in tried}
    assert by_rule["organ"].before == pytest.approx(2 * 10 / 22)
    assert by_rule["organ"].after == 1
    assert by_rule["lesion"].after < by_rule["lesion"].before == 1
    assert not by_rule["all foreground"].kept


def test_a_gain_on_one_case_does_not_outweigh_the_loss_on_others():
    stray = mask(organ=[(2, 12), (36, 38)])
    two_parts = mask(organ=[(2, 7), (8, 12)])
    reference = mask(organ=[(2, 12)])
    rules, _ = chosen(stray, two_parts, two_parts, reference=reference)
    assert rules == Postprocessing()


def test_all_foreground_is_kept_together_where_no_class_loses():
    reference = mask(organ=[(2, 12)], lesion=[(12, 16)])
    rules, tried = chosen(
        mask(organ=[(2, 12), (30, 32)], lesion=[(12, 16), (36, 38)]), reference=reference
    )
    assert rules == Postprocessing(largest_foreground=True)
    assert tried[0].after == 1


def test_a_perfect_prediction_is_left_alone():
    assert chosen(REFERENCE)[0] == Postprocessing()


def test_nothing_is_tried_where_classes_overlap():
    overlapping = Legend(CLASSES, regions=((1, 2), (2,)))
    assert choose_postprocessing([(REFERENCE, REFERENCE)], overlapping) == (Postprocessing(), ())


def test_the_predictor_keeps_what_the_rules_keep():
    labels = mask(organ=[(2, 12), (36, 38)], lesion=[(12, 16), (30, 32)]).array

    def after(**rules):
        return postprocess(labels, Postprocessing(**rules), CLASSES)

    np.testing.assert_array_equal(
        after(largest_component=("organ",)),
        mask(organ=[(2, 12)], lesion=[(12, 16), (30, 32)]).array,
    )
    np.testing.assert_array_equal(
        after(largest_foreground=True), mask(organ=[(2, 12)], lesion=[(12, 16)]).array
    )
    np.testing.assert_array_equal(after(), labels)
