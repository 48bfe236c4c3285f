"""Measures of one region and over cases, against counts made by hand."""

import csv
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from seg.images import Mask
from training.measure import bounding_box, case_ece, measure_case, measure_region, summary_of_region
from training.regions import Region
from training.score_files import summary_table, write_rows
from training.scores import CaseScore, Evaluation

EMPTY = np.zeros((6, 8), bool)


def square(rows, columns):
    mask = EMPTY.copy()
    mask[rows, columns] = True
    return mask


FULL = square(slice(1, 5), slice(1, 5))
HALF = square(slice(1, 5), slice(1, 3))


def measured(prediction, reference, spacing=(1.0, 1.0), tolerance=1.0, probability=None):
    return measure_region(prediction, reference, spacing, tolerance, probability)


def test_a_class_in_neither_mask_has_no_score_at_all():
    score = measured(EMPTY, EMPTY).score
    assert (score.voxels_predicted, score.voxels_reference) == (0, 0)
    others = score.model_dump(exclude={"voxels_predicted", "voxels_reference"})
    assert set(others.values()) == {None}


@pytest.mark.parametrize(
    ("prediction", "reference", "volume_error"),
    [
        pytest.param(EMPTY, FULL, -1.0, id="missed"),
        pytest.param(FULL, EMPTY, None, id="invented"),
    ],
)
def test_a_class_in_one_mask_alone_scores_zero_and_has_no_distance(
    prediction, reference, volume_error
):
    score = measured(prediction, reference).score
    assert (score.dice, score.iou, score.surface_dice) == (0, 0, 0)
    assert score.hd95 is None
    assert score.volume_error == volume_error


def test_distances_and_tolerance_are_in_millimetres():
    score = measured(HALF, FULL, spacing=(1.0, 0.25), tolerance=0.5).score
    assert score.hd95 == 0.5  # two columns of 0.25 mm
    assert score.surface_dice == 1
    assert measured(HALF, FULL, spacing=(1.0, 0.25), tolerance=0.4).score.surface_dice < 1
    assert score.volume_error == -0.5


def test_without_spacing_distances_are_in_pixels():
    regions = {"cell": Region((1,), (1,))}
    masks = Mask(HALF.astype(np.uint8)), Mask(FULL.astype(np.uint8))
    assert measure_case(*masks, regions, 1.0)["cell"].score.hd95 == 2
    in_mm = [Mask(mask.array, spacing=(0.1, 0.1)) for mask in masks]
    assert measure_case(*in_mm, regions, 1.0)["cell"].score.hd95 == pytest.approx(0.2)


def test_calibration_is_judged_in_the_box_around_both_masks():
    probability = np.full(EMPTY.shape, 0.99, np.float32)  # wildly wrong outside of the box
    probability[1:5, 1:5] = np.where(FULL, 0.75, 0)[1:5, 1:5]
    # in the box all 16 voxels are the class, and 0.75 was said
    assert measured(HALF, FULL, probability=probability).score.ece == pytest.approx(0.25)


def test_a_case_is_calibrated_where_it_is_right_as_often_as_it_says():
    probabilities = np.stack([np.full(4, 0.75), np.full(4, 0.25)]).astype(np.float32)
    assert case_ece(probabilities, np.array([0, 0, 0, 1])) == pytest.approx(0)
    assert case_ece(probabilities, np.array([0, 0, 1, 1])) == pytest.approx(0.25)


@given(arrays(bool, st.sampled_from([(7, 5), (3, 4, 6)])))
def test_a_bounding_box_holds_all_and_touches_every_side(mask):
    if not mask.any():
        return
    inside = mask[bounding_box(mask)]
    assert inside.sum() == mask.sum()
    for axis in range(mask.ndim):
        for end in (0, -1):
            assert inside.take(end, axis=axis).any()


def test_a_summary_counts_what_is_missed_and_what_is_invented():
    cases = [measured(FULL, FULL), measured(EMPTY, FULL), measured(FULL, EMPTY)]
    summary = summary_of_region([*cases, measured(EMPTY, EMPTY)], [float("nan")] * 4)
    assert (summary.missed, summary.invented, summary.cases) == (1, 1, 3)
    assert summary.measures["dice"].mean == pytest.approx(1 / 3)
    assert summary.measures["hd95"].cases == 1
    assert summary.measures["volume_error"].mean == pytest.approx(-0.5)
    assert summary.measures["volume_error_absolute"].mean == pytest.approx(0.5)
    assert summary.floor is None


def evaluation(*cases):
    """Of (name, prediction, reference)."""
    found = [measured(prediction, reference) for _, prediction, reference in cases]
    return Evaluation(
        cases=tuple(
            CaseScore(case=name, classes={"cell": each.score})
            for (name, *_), each in zip(cases, found, strict=True)
        ),
        summary={"cell": summary_of_region(found, [float("nan")] * len(found))},
        tolerance=1.0,
    )


def test_rows_of_the_table_are_worst_first_and_unknown_is_empty(tmp_path):
    path = tmp_path / "metrics.csv"
    cases = ("good", FULL, FULL), ("nothing", EMPTY, EMPTY), ("missed", EMPTY, FULL)
    write_rows(evaluation(*cases), path)
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert [row["case"] for row in rows] == ["missed", "good", "nothing"]
    assert (rows[0]["dice"], rows[0]["hd95"]) == ("0.0", "")
    assert (rows[1]["dice"], rows[1]["hd95"], rows[1]["unit"]) == ("1.0", "0.0", "pixels")
    assert rows[2]["dice"] == ""


def test_the_table_says_when_distances_are_in_pixels():
    assert "distances are in pixels" in summary_table(evaluation(("good", FULL, FULL)))
