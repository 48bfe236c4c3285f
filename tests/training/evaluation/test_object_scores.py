import numpy as np
import pytest

from training.evaluation.object_scores import (
    ObjectScore,
    object_differences,
    object_table,
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
