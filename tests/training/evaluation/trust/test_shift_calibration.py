import math

import numpy as np
import pytest
from numpy.random import default_rng
from scipy.special import expit

from seg.metrics import DiceCalibration, SelfAssessment, Spread
from training.evaluation.trust.shift_calibration import with_shift
from training.evaluation.trust.shifted_cases import CLEAN, ShiftedCase

WAYS = ("noise", "blur", "light", "zoom")


def pieces(seed, count=12):
    """Pieces whose Dice falls with the doubt of the network and with its strangeness."""
    rng = default_rng(seed)
    found = []
    for way in (CLEAN, *WAYS):
        for _ in range(count):
            strength = 0.0 if way == CLEAN else rng.uniform(0, 1)
            expected = expit(3.5 - 3 * strength * rng.uniform(0.5, 1))
            shift = 6 * strength * (way in ("blur", "zoom"))
            features = rng.normal(shift, 1, (4, 30)).astype(np.float32)
            doubt = 3.5 - math.log(expected / (1 - expected))
            reached = 0.95 * expit(4 - 2 * doubt - 0.3 * shift) + rng.normal(0, 0.02)
            found.append(
                ShiftedCase(
                    way=way,
                    expected={"cell": expected},
                    spread={"cell": Spread(expected, 1 - expected)},
                    dice={"cell": float(np.clip(reached, 0, 1))},
                    voxels=10_000,
                    network="full.onnx",
                    features=features,
                )
            )
    return found


@pytest.fixture(scope="module")
def assessment():
    plain = DiceCalibration(slope=1, offset=-0.5, cases=6, expected_error=0.01)
    return with_shift(SelfAssessment(dice={"cell": plain}), {"cell": 0.96}, pieces(0))


def said(assessment, piece):
    strangeness = assessment.features.strangeness(piece.features)
    return assessment.dice["cell"].predict(
        piece.expected["cell"], strangeness, piece.voxels, piece.spread["cell"]
    )


def test_unseen_degraded_images_get_nearly_the_dice_that_was_predicted(assessment):
    unseen = pieces(1)
    found = [said(assessment, piece) for piece in unseen]
    reached = np.array([piece.dice["cell"] for piece in unseen])
    assert np.abs(np.array([each.dice for each in found]) - reached).mean() < 0.05
    inside = [
        each.interval[0] <= dice <= each.interval[1]
        for each, dice in zip(found, reached, strict=True)
    ]
    assert np.mean(inside) >= 0.85


def test_intervals_are_no_wider_where_the_usual_error_is_known_to_be_large():
    """Its part of an interval is in the pieces' errors already."""
    sure, unsure = (
        with_shift(
            SelfAssessment(dice={"cell": DiceCalibration(offset=-0.5, expected_error=error)}),
            {"cell": 0.96},
            pieces(0),
        )
        for error in (0.01, 0.04)
    )
    widths = [
        np.mean([np.ptp(said(each, piece).interval) for piece in pieces(1)])
        for each in (sure, unsure)
    ]
    assert widths[1] < widths[0] * 1.3


def test_a_dice_of_less_than_half_the_usual_is_seen(assessment):
    unseen = pieces(2, count=40)
    reached = np.array([piece.dice["cell"] for piece in unseen])
    predicted = np.array([said(assessment, piece).dice for piece in unseen])
    poor = reached < 0.45
    higher = predicted[~poor] > predicted[poor][:, None]
    assert poor.sum() > 5
    assert higher.mean() >= 0.95


def test_the_stranger_an_image_the_lower_its_dice_and_the_larger_the_error(assessment):
    calibration = assessment.dice["cell"]
    found = [calibration.predict(0.97, strangeness, 10_000) for strangeness in (1.0, 2.0, 5.0)]
    dice, errors = ([getattr(each, name) for each in found] for name in ("dice", "expected_error"))
    assert dice == sorted(dice, reverse=True)
    assert dice[0] > dice[-1]
    assert errors == sorted(errors)
    assert errors[0] < errors[-1]


def test_an_image_as_those_of_training_keeps_its_prediction(assessment):
    calibration = assessment.dice["cell"]
    plain = float(calibration.predicted(np.array([0.975]))[0])
    assert calibration.predict(0.975, 1.0, 10_000).dice == pytest.approx(plain, abs=0.01)
    assert calibration.predict(0.975, math.nan, 10_000).dice == pytest.approx(plain, abs=0.01)


def test_a_network_that_is_too_sure_of_a_bad_mask_is_seen_by_what_lies_beside_it():
    """Of probabilities that all lie in the mask the expected Dice is high, whatever is true."""
    seen = pieces(0)
    for piece in seen:
        if piece.way == "noise":
            piece.expected["cell"] = expit(3.5)
            piece.spread["cell"] = Spread(expit(3.5), 0.001)
            piece.dice["cell"] = 0.4
    plain = SelfAssessment(dice={"cell": DiceCalibration(offset=-0.5, expected_error=0.01)})
    taught = with_shift(plain, {"cell": 0.96}, seen)
    told = [said(taught, piece).dice for piece in seen if piece.way == "noise"]
    usual = [said(taught, piece).dice for piece in seen if piece.way == CLEAN]
    assert np.mean(told) == pytest.approx(0.4, abs=0.05)
    assert np.mean(usual) > 0.85


def test_pieces_that_nobody_can_tell_apart_do_not_bend_the_rest():
    seen = pieces(0)
    rng = default_rng(5)
    wild = [piece for piece in seen if piece.way == "light"]
    for piece in wild:
        piece.dice["cell"] = float(rng.integers(2))
    plain = SelfAssessment(dice={"cell": DiceCalibration(offset=-0.5, expected_error=0.01)})
    taught = with_shift(plain, {"cell": 0.96}, seen)
    others = [piece for piece in pieces(1) if piece.way != "light"]
    errors = [said(taught, piece).dice - piece.dice["cell"] for piece in others]
    assert np.abs(errors).mean() < 0.06


def test_older_packages_say_what_they_said():
    plain = DiceCalibration(slope=2, offset=-1, cases=5, expected_error=0.02)
    found = plain.predict(0.8, 7.0)
    assert found.dice == float(plain.predicted(np.array([0.8]))[0])
    assert (found.expected_error, found.interval) == (0.02, None)


def test_too_few_pieces_with_a_class_teach_nothing():
    plain = DiceCalibration(cases=3)
    few = pieces(0, count=1)
    assert (
        with_shift(SelfAssessment(dice={"cell": plain}), {"cell": 0.9}, few).dice["cell"] == plain
    )
