import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import default_rng
from scipy.special import expit, logit, softmax

from seg.images import Mask
from seg.inference.tiling.blending import Slab
from seg.metrics import DiceCalibration, SelfAssessment
from seg.model_package import ModelPackage
from tests.packages import CLASSES, write_package
from tests.training.evaluation.test_evaluate import write_dataset
from training.calibrate import main
from training.dataset import IGNORE, Legend
from training.evaluation.trust.recalibration import recalibrate, recalibration_in_words
from training.evaluation.trust.self_assessment import (
    VOXELS_A_CASE,
    CaseEvidence,
    CaseWatcher,
    assess,
    fit_dice,
    fit_temperature,
)


def spoken(temperature, cases=6, voxels=4000, task="exclusive"):
    """Cases whose truth is drawn from what logits say at a temperature."""
    rng = default_rng(0)
    told = []
    for _ in range(cases):
        logits = rng.normal(scale=3, size=(3, voxels)).astype(np.float32)
        if task == "regions":
            truth = rng.random(logits.shape) < expit(logits / temperature)
        else:
            each = softmax(logits / temperature, axis=0).cumsum(axis=0)
            truth = np.arange(3)[:, None] == (rng.random(voxels) > each).sum(axis=0)
        told.append(CaseEvidence({"organ": 0.9}, logits, truth))
    return told


@pytest.mark.parametrize("task", ["exclusive", "regions"])
@pytest.mark.parametrize("temperature", [0.7, 1.0, 2.5])
def test_the_temperature_is_found_that_the_truth_was_drawn_with(temperature, task):
    assert fit_temperature(spoken(temperature, task=task), task) == pytest.approx(
        temperature, rel=0.05
    )


@pytest.mark.parametrize("task", ["exclusive", "regions"])
def test_a_temperature_mends_the_calibration_of_cases_left_out(task):
    assessment = assess(spoken(2.5, task=task), {}, task, "drawn cases")
    before, after = assessment.ece
    assert before > 0.05
    assert after < before / 3


def with_forgotten_objects(told):
    """Each fiftieth voxel is surely one class, and in the reference another."""
    for case in told:
        case.logits[:, ::50] = np.array([[0], [0], [30]])
        case.truth[:, ::50] = np.array([[True], [False], [False]])
    return told


def test_a_temperature_that_would_harm_cases_left_out_is_not_kept():
    told = with_forgotten_objects(spoken(1.0))
    assert fit_temperature(told, "exclusive") > 1.5  # the likeliest, for a few sure errors
    assessment = assess(told, {}, "exclusive", "drawn cases")
    without, fitted = assessment.ece
    assert fitted > without
    assert assessment.temperature == 1
    assert "does not help" in recalibration_in_words(assessment)


def test_a_bent_relation_of_expected_and_reached_dice_is_found():
    expected = default_rng(0).uniform(0.6, 0.99, 30)
    reached = expit(0.5 * logit(expected) - 0.8)
    found = fit_dice(expected, reached)
    np.testing.assert_allclose(found.predicted(expected), reached, atol=0.01)
    assert found.expected_error < 0.01 < found.error_of_the_mean
    assert found.cases == 30


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=3, max_size=8))
def test_a_fitted_calibration_never_falls(pairs):
    found = fit_dice(*np.array(pairs).T)
    assert (np.diff(found.predicted(np.linspace(0, 1, 50))) >= 0).all()
    assert 0 <= found.expected_error <= 1


def test_the_error_is_that_of_cases_left_out():
    # what the others say of the odd one is wrong by nearly all of its distance
    expected, reached = np.full(5, 0.9), np.array([0.9, 0.9, 0.9, 0.9, 0.4])
    assert fit_dice(expected, reached).expected_error > 0.15


def test_the_fit_is_of_the_mean_which_an_odd_case_moves():
    expected, reached = np.full(5, 0.9), np.array([0.9, 0.9, 0.9, 0.9, 0.4])
    assert fit_dice(expected, reached).predicted(np.array([0.9])) < 0.87


def test_the_error_is_that_of_subjects_left_out():
    """Of eight patients with six slices each, the others' slices say nothing of a patient's own."""
    rng = default_rng(0)
    of_subject = np.repeat(rng.normal(0, 0.8, 8), 6)
    expected = rng.uniform(0.85, 0.95, 48)
    reached = expit(logit(expected) - 1 + of_subject)
    subjects = [f"p{number // 6}" for number in range(48)]
    as_cases, as_subjects = fit_dice(expected, reached), fit_dice(expected, reached, subjects)
    assert as_subjects.expected_error > 1.05 * as_cases.expected_error
    told = [
        CaseEvidence({"organ": each}, case.logits, case.truth, name)
        for each, name, case in zip(expected, subjects, 48 * spoken(1, cases=1), strict=True)
    ]
    assessment = assess(told, {"organ": list(reached)}, "exclusive", "slices")
    assert assessment.dice["organ"] == as_subjects
    # of one patient alone no other is known
    assert fit_dice(expected[:6], reached[:6], subjects[:6]) == fit_dice(expected[:6], reached[:6])


def test_too_few_cases_give_no_calibration():
    assessment = assess(spoken(1, cases=2), {"organ": [0.9, 0.8]}, "exclusive", "two")
    assert assessment.dice == {}
    assert assessment.temperature == 1
    assert assessment.ece is None


def watched(card, labels, legend=None, slabs=3, reference=None):
    """A watcher that saw certain logits of ``labels`` in some slabs."""
    watcher = CaseWatcher(card)
    for rows in np.array_split(np.arange(len(labels)), slabs):
        part = labels[rows]
        logits = 20 * np.moveaxis(np.eye(3, dtype=np.float32)[part], -1, 0)
        watcher(Slab(int(rows[0]), int(rows[-1]) + 1, np.ascontiguousarray(logits)), part)
    return watcher.told(Mask(labels if reference is None else reference), legend or Legend(CLASSES))


@pytest.fixture(scope="module")
def card(tiny_package):
    return ModelPackage.load(tiny_package).card


def test_half_of_the_drawn_voxels_are_predicted_foreground_and_know_their_truth(card):
    labels = np.zeros((300, 400), np.uint8)
    labels[:, 100:140] = 1
    labels[:, 140:150] = 2
    told = watched(card, labels)
    assert told.logits.shape == (3, VOXELS_A_CASE)
    np.testing.assert_array_equal(told.truth, told.logits > 10)  # certain and right
    assert (told.logits.argmax(axis=0) > 0).sum() == VOXELS_A_CASE // 2
    share = told.truth[2].sum() / told.truth[1:].sum()
    assert share == pytest.approx(0.2, abs=0.03)  # as many as there are
    assert told.expected == pytest.approx({"cytoplasm": 1.0, "nucleus": 1.0}, abs=1e-4)


def test_voxels_that_nobody_annotated_are_left_out(card):
    labels = np.ones((30, 40), np.uint8)
    reference = labels.copy()
    reference[:, 10:] = IGNORE
    told = watched(card, labels, Legend(CLASSES, ignores=True), reference=reference)
    assert told.logits.shape == (3, 300)
    assert told.truth[1].all()


def test_labels_of_overlapping_regions_are_taken_apart(tmp_path):
    card = ModelPackage.load(write_package(tmp_path / "package", task="regions")).card
    legend = Legend(CLASSES, regions=((1, 2), (2,)))
    watcher = CaseWatcher(card)
    logits = np.full((2, 1, 3), -20, np.float32)
    watcher(Slab(0, 1, logits), np.zeros((1, 3), np.uint8))
    told = watcher.told(Mask(np.array([[0, 1, 2]], np.uint8)), legend)
    assert sorted(map(tuple, told.truth.T)) == [(False, False), (True, False), (True, True)]


B, C, N = 0, 130, 230


def test_calibrate_writes_what_predict_then_says(tmp_path, capsys):
    package = write_package(tmp_path / "package", patch=(16, 16))
    cases = [("train", [[C] * 16] * 16, [[1] * 16] * 16)]
    for width in (2, 4, 6, 8, 10):
        row = [C] * width + [B] * (16 - width)
        labels = [1] * (width - 1) + [0] * (17 - width)
        cases.append(("test", [row] * 16, [labels] * 16))
    write_dataset(tmp_path / "data", cases)
    assert main([str(package), str(tmp_path / "data")]) == 0
    assert "predicted Dice is off by" in capsys.readouterr().out
    card = ModelPackage.load(package).card
    assert set(card.quality.dice) == {"cytoplasm"}
    found = card.quality.dice["cytoplasm"]
    assert isinstance(found, DiceCalibration)
    assert found.cases == 5
    assert found.expected_error < found.error_of_the_mean
    assert card.quality.fitted_on == "5 test cases of data"


def test_what_a_variant_said_is_kept_with_that_variant(tmp_path):
    loaded = ModelPackage.load(write_package(tmp_path / "package"))
    (first,) = loaded.card.variants
    variants = (first, first.model_copy(update={"name": "fast"}))
    card = loaded.card.model_copy(update={"variants": variants, "quality": None})
    whole = ModelPackage(loaded.path, card)
    assessment = SelfAssessment(fitted_on="5 test cases of data")
    fast = whole.as_variant("fast")
    assert fast.as_variant("fast") is fast, "what it knows of itself is not found out again"
    kept = recalibrate(fast, assessment).card
    assert (kept.quality, kept.variants[0].quality) == (None, None)
    assert kept.variants[1].quality == assessment
    assert ModelPackage.load(loaded.path).card.variants == kept.variants
    kept = recalibrate(whole.as_variant("float32"), assessment).card
    assert kept.quality == kept.variants[0].quality == assessment


def test_a_class_called_differently_is_one_sentence(tmp_path, capsys):
    package = write_package(tmp_path / "package", patch=(16, 16))
    row = [[C] * 4] * 4, [[1] * 4] * 4
    write_dataset(
        tmp_path / "data", [("train", *row), ("test", *row)], {"background": 0, "bone": 1}
    )
    assert main([str(package), str(tmp_path / "data")]) == 2
    assert capsys.readouterr().err.startswith("error: the package knows the classes")
