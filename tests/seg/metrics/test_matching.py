import math

import numpy as np
import pytest

from seg.metrics import ObjectCounts, count_objects, is_hit, overlaps
from seg.metrics.matching import fates_of

SQUARE = (slice(2, 6), slice(2, 6))


def labels(*boxes) -> np.ndarray:
    drawn = np.zeros((20, 20), np.int32)
    for number, box in enumerate(boxes, start=1):
        drawn[box] = 7 * number
    return drawn


LEFT, RIGHT, BOTH = np.s_[2:8, 2:6], np.s_[2:8, 6:10], np.s_[2:8, 2:10]


def test_the_same_objects_score_one_whatever_their_numbers():
    scores = count_objects(overlaps(labels(LEFT, RIGHT), labels(RIGHT, LEFT))).scores()
    assert scores == {
        "ap_50": 1, "ap_75": 1, "ap_90": 1, "f1": 1, "pq": 1, "seg": 1, "count_error": 0
    }  # fmt: skip


def test_two_cells_in_one_object_are_merged_and_no_hit():
    counts = count_objects(overlaps(labels(BOTH), labels(LEFT, RIGHT)))
    assert (counts.merged, counts.split, counts.hits[0]) == (2, 0, 0)
    assert counts.scores()["count_error"] == -0.5
    assert counts.scores()["seg"] == pytest.approx(0.5)


def test_a_cell_in_two_objects_is_split():
    counts = count_objects(overlaps(labels(LEFT, RIGHT), labels(BOTH)))
    assert (counts.merged, counts.split, counts.hits[0]) == (0, 1, 0)


def test_scores_of_a_near_miss_by_hand():
    # 24 of 32 pixels: IoU 0.75, which is above 0.5 and not above 0.75; one object is invented
    counts = count_objects(
        overlaps(labels(np.s_[2:8, 2:6], np.s_[12:14, 12:14]), labels(np.s_[2:10, 2:6]))
    )
    scores = counts.scores()
    assert scores["ap_50"] == pytest.approx(1 / 2)
    assert scores["ap_75"] == 0
    assert scores["f1"] == pytest.approx(2 / 3)
    assert scores["pq"] == pytest.approx(0.75 / 1.5)
    assert scores["count_error"] == 1


def test_hits_are_told_of_each_predicted_object():
    pairs = overlaps(labels(np.s_[12:14, 12:14], LEFT), labels(LEFT, RIGHT))
    assert is_hit(pairs).tolist() == [False, True]


def test_nothing_on_nothing_has_no_score_and_cases_add_up():
    nothing = np.zeros((4, 4), int)
    empty = count_objects(overlaps(nothing, nothing))
    assert all(map(math.isnan, empty.scores().values()))
    one = count_objects(overlaps(labels(LEFT), labels(LEFT)))
    assert empty + one + one == ObjectCounts(2, 2, (2, 2, 2), 2.0, 2.0, 0, 0)


def test_an_image_full_of_objects_has_no_background_to_find():
    full = np.ones((3, 3), int)
    assert count_objects(overlaps(full, full)).hits == (1, 1, 1)


def test_a_pair_that_shares_little_is_no_hit_at_any_threshold():
    # 8 of 40 pixels
    counts = count_objects(overlaps(labels(LEFT), labels(np.s_[6:12, 2:6])))
    assert counts.hits == (0, 0, 0)
    assert (counts.iou, counts.seg) == (0, 0)


def test_counts_begin_at_nothing():
    counts = count_objects(overlaps(labels(LEFT), labels(LEFT)))
    assert ObjectCounts() + counts == counts


def test_what_became_of_each_object_is_told_by_its_number():
    below, far = np.s_[12:18, 2:10], np.s_[0:1, 15:18]
    half, rest = np.s_[12:18, 2:6], np.s_[12:18, 6:10]
    ours, theirs = fates_of(
        overlaps(labels(BOTH, half, rest, far), labels(LEFT, RIGHT, below, np.s_[19:20, 0:2]))
    )
    assert ours == {7: "merged", 14: "split", 21: "split", 28: "invented"}
    assert theirs == {7: "merged", 14: "merged", 21: "split", 28: "missed"}
    assert fates_of(overlaps(labels(LEFT), labels(RIGHT, LEFT))) == (
        {7: "matched"},
        {7: "missed", 14: "matched"},
    )
