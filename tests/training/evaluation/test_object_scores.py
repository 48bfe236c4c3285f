import numpy as np
import pytest

from seg.images import ClassInfo
from seg.objects import Count, Objects
from training.evaluation.object_scores import (
    ObjectScore,
    judged,
    object_differences,
    object_table,
    score_objects,
    summary_of_objects,
)


def score(hits, predicted=12, reference=10, interval=None):
    return ObjectScore(
        reference=reference, predicted=predicted, hits=(hits, hits - 1, hits - 2), iou=0.9 * hits,
        seg=0.9 * hits, merged=1, split=0, components=(8, 4, 3, 2), interval=interval,
    )  # fmt: skip


def test_cases_are_scored_together_with_an_interval_over_cases():
    cases = [score(9), score(7), score(8, interval=(5, 9)), score(8, interval=(9, 12))]
    summary = summary_of_objects(cases)
    ap = summary.measures["ap_50"]
    assert ap.value == pytest.approx(32 / (48 + 40 - 32))
    assert ap.ci95[0] < ap.value < ap.ci95[1]
    assert summary.measures["count_error"].value == pytest.approx(0.2)
    assert summary.merged == 4
    assert summary.coverage == 0.5
    assert summary.floor["ap_50"] == pytest.approx(16 / (32 + 40 - 16))
    assert "nucleus" in object_table({"nucleus": summary})


def test_objects_of_one_case_have_no_interval():
    assert summary_of_objects([score(9)]).measures["ap_50"].ci95 is None
    alone = [({"cell": score(7)}, {"cell": score(9)})]
    assert {each.ci95 for each in object_differences(alone)} == {None}


def test_a_difference_is_paired_so_that_hard_cases_do_not_hide_it():
    hits = np.random.default_rng(0).integers(3, 9, 12)
    pairs = [({"cell": score(int(n))}, {"cell": score(int(n) + 1)}) for n in hits]
    found = {each.label: each for each in object_differences(pairs)}["AP .5"]
    assert found.difference > 0
    assert found.ci95[0] > 0
    assert found.cases == 12


def test_a_class_without_objects_has_no_score():
    summary = summary_of_objects([score(2, 0, 0).model_copy(update={"hits": (0, 0, 0)})])
    assert summary.measures == {}


def test_images_of_one_subject_are_drawn_together():
    cases = [score(9), score(9), score(5), score(5), score(7), score(7)]
    own = summary_of_objects(cases).measures["ap_50"]
    subjects = summary_of_objects(cases, list("aabbcc")).measures["ap_50"]
    assert subjects.value == own.value
    assert np.ptp(subjects.ci95) > np.ptp(own.ci95)
    assert summary_of_objects(cases, list("aaaaaa")).measures["ap_50"].ci95 is None


def test_what_lies_mostly_where_nobody_annotated_is_no_error():
    annotated = np.ones((12, 30), bool)
    annotated[:, 15:] = False
    true = np.zeros((12, 30), int)
    true[:3, 12:15] = 4
    true[9:, 2:5] = 7
    found = np.zeros((12, 30), np.uint32)
    found[:3, 12:28] = 1  # a true one, as far as it was drawn
    found[4:6, 14:20] = 2  # its rim alone lies where somebody looked
    found[7:8, 13:16] = 3
    found[9:, 2:5] = 5
    found[9:, 20:24] = 6
    left = judged(found, true, annotated)
    assert np.unique(left).tolist() == [0, 1, 3, 5]
    assert not left[:, 15:].any()
    np.testing.assert_array_equal(left[:, :13], found[:, :13])
    assert judged(found, true, annotated | True) is found


def test_of_a_case_that_is_annotated_in_part_no_interval_is_judged():
    classes = np.ones((4, 6), np.uint8)
    objects = Objects(
        labels=classes.astype(np.uint32), classes=np.ones(1, np.uint8),
        probabilities=np.ones(1, np.float32),
        kinds=(ClassInfo(index=1, name="cell", color=(0, 0, 0)),),
        counts={"cell": Count(1, (1, 1))},
    )  # fmt: skip
    whole = score_objects(objects, classes, classes.astype(np.int32), classes)["cell"]
    assert (whole.is_covered, whole.hits) == (True, (1, 1, 1))
    labels = classes.copy()
    labels[:, 4:] = 255
    part = score_objects(objects, classes, (labels == 1).astype(np.int32), labels)["cell"]
    assert (part.is_covered, part.hits, part.components) == (None, (1, 1, 1), (1, 1, 1, 1))
