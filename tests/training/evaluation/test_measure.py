"""Measures of one region and over cases, against counts made by hand."""

import csv
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from seg.images import ClassInfo, Mask
from seg.inference.labels.decision import labels_of
from seg.inference.tiling.sliding_window import Slab
from seg.metrics import SelfAssessment, reliability
from seg.model_package import ModelPackage
from training.dataset import IGNORE, Legend
from training.evaluation.measure import (
    calibration_error,
    evaluation_of,
    measure_case,
    measure_region,
    merged,
    predicted_regions,
    summary_of_region,
)
from training.evaluation.regions import Region, regions
from training.evaluation.score_files import summary_table, write_rows
from training.evaluation.scores import CaseScore, Evaluation, in_digits
from training.evaluation.trust.reliability_meter import CalibrationMeter, widened_box

EMPTY = np.zeros((6, 8), bool)


def square(rows, columns):
    mask = EMPTY.copy()
    mask[rows, columns] = True
    return mask


FULL = square(slice(1, 5), slice(1, 5))
HALF = square(slice(1, 5), slice(1, 3))


def measured(prediction, reference, spacing=(1.0, 1.0), tolerance=1.0):
    return measure_region(prediction, reference, spacing, tolerance)


def test_a_class_in_neither_mask_has_no_score_at_all():
    score = measured(EMPTY, EMPTY)
    counts = {"voxels_predicted", "voxels_reference", "outlines", "own_outlines"}
    assert score.model_dump(include=counts) == dict.fromkeys(counts, 0)
    others = score.model_dump(exclude=counts)
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
    score = measured(prediction, reference)
    assert (score.dice, score.iou, score.surface_dice) == (0, 0, 0)
    assert score.hd95 is None
    assert score.volume_error == volume_error


def test_distances_and_tolerance_are_in_millimetres():
    score = measured(HALF, FULL, spacing=(1.0, 0.25), tolerance=0.5)
    assert score.hd95 == 0.5  # two columns of 0.25 mm
    assert score.surface_dice == 1
    assert measured(HALF, FULL, spacing=(1.0, 0.25), tolerance=0.4).surface_dice < 1
    assert score.volume_error == -0.5


def test_without_spacing_distances_are_in_pixels():
    cell = {"cell": Region((1,), (1,))}
    masks = Mask(HALF.astype(np.uint8)), Mask(FULL.astype(np.uint8))
    assert (
        measure_case(predicted_regions(*masks, cell), masks[1], cell, 1.0, {}, {})["cell"].hd95 == 2
    )
    in_mm = [Mask(mask.array, spacing=(0.1, 0.1)) for mask in masks]
    assert measure_case(predicted_regions(*in_mm, cell), in_mm[1], cell, 1.0, {}, {})[
        "cell"
    ].hd95 == pytest.approx(0.2)


def test_shared_outlines_are_counted_of_each_class_alone():
    labels = np.zeros((20, 30), np.uint8)
    labels[2:12, 2:12], labels[2:12, 16:26] = 1, 2
    mask, classes = Mask(labels), regions(Legend(CLASSES))
    found = measure_case(predicted_regions(mask, mask, classes), mask, classes, 1.0, {}, {})
    assert {name: (each.outlines, each.own_outlines) for name, each in found.items()} == {
        "a": (1, 1), "b": (1, 1), "foreground": (0, 0),
    }  # fmt: skip


CLASSES = tuple(
    ClassInfo(index=i, name=name, color=(i, i, i)) for i, name in enumerate(("none", "a", "b"))
)


def meter_of(card, legend, reference, logits, rows=2):
    """After the slabs of an image, a few rows each."""
    meter = CalibrationMeter(card, regions(legend), Mask(reference))
    for start in range(0, len(reference), rows):
        part = logits[:, start : start + rows]
        labels = labels_of(part, card.task)
        meter(Slab(start, start + part.shape[1], part), labels)
    return meter


def card_of(package, **changes):
    return ModelPackage.load(package).card.model_copy(update=changes)


def test_calibration_is_judged_in_a_box_around_the_reference(tiny_package):
    reference = np.zeros((12, 12), np.uint8)
    reference[4:8, 4:8] = 1
    said = np.full((3, 12, 12), 1e-6, np.float32)
    said[1] = 1  # everywhere: right in 16 of the 36 voxels of the box
    meter = meter_of(card_of(tiny_package), Legend(CLASSES), reference, np.log(said))
    assert meter.regions["a"][0].sum() == 6 * 6
    assert calibration_error(meter.regions["a"]) == pytest.approx(1 - 16 / 36, abs=1e-3)
    assert "b" not in meter.regions
    assert meter.winner[0].sum() == reference.size
    assert calibration_error(meter.winner) == pytest.approx(1 - 16 / 144, abs=1e-3)


def test_voxels_that_nobody_annotated_are_not_judged(tiny_package):
    reference = np.full((4, 4), IGNORE, np.uint8)
    reference[1:3, 1:3] = 1
    logits = np.zeros((3, 4, 4), np.float32)
    logits[1] = 50
    meter = meter_of(card_of(tiny_package), Legend(CLASSES, ignores=True), reference, logits)
    assert meter.winner[0].sum() == meter.regions["a"][0].sum() == 4
    assert calibration_error(meter.regions["a"]) == pytest.approx(0, abs=1e-6)


def test_overlapping_regions_are_judged_each_by_its_own_channel(tiny_package):
    legend = Legend(CLASSES, regions=((1, 2), (2,)))  # b lies in a
    reference = np.array([[0, 1, 2, 2]] * 4, np.uint8)
    inside = np.stack([reference > 0, reference > 1])
    meter = meter_of(
        card_of(tiny_package, task="regions"),
        legend,
        reference,
        np.where(inside, 9, -9).astype(np.float32),
    )
    assert meter.winner is None
    for name in ("a", "b", "foreground"):
        assert calibration_error(meter.regions[name]) == pytest.approx(0, abs=1e-3)


def test_a_temperature_is_part_of_the_probabilities(tiny_package):
    reference = np.ones((2, 2), np.uint8)
    logits = np.zeros((3, 2, 2), np.float32)
    logits[1] = 8
    warm = card_of(tiny_package, quality=SelfAssessment(temperature=4.0))
    meter = meter_of(warm, Legend(CLASSES), reference, logits)
    sure = np.exp(2) / (np.exp(2) + 2)
    assert calibration_error(meter.regions["a"]) == pytest.approx(1 - sure, rel=1e-4)


@given(arrays(bool, st.sampled_from([(7, 5), (3, 4, 6)])))
def test_a_widened_box_holds_all_of_a_mask(mask):
    if mask.any():
        assert mask[widened_box(mask)].sum() == mask.sum()


def test_a_summary_counts_what_is_missed_and_what_is_invented():
    cases = [measured(FULL, FULL), measured(EMPTY, FULL), measured(FULL, EMPTY)]
    summary = summary_of_region([*cases, measured(EMPTY, EMPTY)])
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
            CaseScore(case=name, classes={"cell": each})
            for (name, *_), each in zip(cases, found, strict=True)
        ),
        summary={"cell": summary_of_region(found)},
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


def test_evaluations_of_different_cases_come_together_as_if_they_were_one():
    cases = ("a", FULL, FULL), ("b", HALF, FULL), ("c", EMPTY, FULL), ("d", EMPTY, EMPTY)
    whole = evaluation(*cases)
    assert merged([evaluation(*cases[:1]), evaluation(*cases[1:])]) == whole
    assert whole.summary["cell"].dice_pooled == pytest.approx(2 * (16 + 8) / (48 + 16 + 8))


def test_calibration_of_parts_comes_together():
    counts = reliability(np.array([0.1, 0.5, 0.5, 0.9]), np.array([False, True, False, True]))
    case = CaseScore(case="a", classes={"cell": measured(FULL, FULL)})
    parts = [evaluation_of([case], ["cell"], {"cell": each}, 1.0) for each in (counts, 2 * counts)]
    whole = evaluation_of([case, case], ["cell"], {"cell": 3 * counts}, 1.0)
    found, expected = (each.summary["cell"].reliability for each in (merged(parts), whole))
    assert found.voxels == expected.voxels
    for ours, theirs in zip(found.confidence, expected.confidence, strict=True):
        assert ours == pytest.approx(theirs)


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(0.8768, 3, "0.877"), (12.3456, 2, "12.35"), (0.00042, 2, "0.00042"), (0.0, 2, "0.00")],
)
def test_distances_in_micrometres_are_not_rounded_to_nothing(value, digits, text):
    assert in_digits(value, digits) == text
