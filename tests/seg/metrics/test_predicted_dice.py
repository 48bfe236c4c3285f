import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError
from scipy.special import expit, logit

from seg.metrics import DiceCalibration, Spread, dice, expected_dice, spread_of
from seg.metrics.predicted_dice import SPREAD_EDGE, ShiftCalibration

masks = arrays(bool, (6, 7))
shares = st.floats(0, 1)


@settings(deadline=None)
@given(truth=masks, mask=masks)
def test_certain_and_right_probabilities_expect_the_true_dice(truth, mask):
    sums = ((truth & mask).sum(), truth.sum(), mask.sum())
    (expected,) = expected_dice(*(np.array([each], float) for each in sums))
    if mask.any():
        assert expected == pytest.approx(dice(mask, truth))
    else:
        assert np.isnan(expected)


@settings(deadline=None)
@given(st.lists(shares, min_size=2, max_size=9), st.floats(0, 5), st.floats(-5, 5))
def test_a_calibration_never_falls_and_stays_a_dice(expected, slope, offset):
    calibration = DiceCalibration(slope=slope, offset=offset)
    predicted = calibration.predicted(np.array(sorted(expected)))
    assert (np.diff(predicted) >= 0).all()
    assert ((predicted >= 0) & (predicted <= 1)).all()


def test_a_calibration_that_was_not_fitted_changes_nothing():
    expected = np.array([0.01, 0.5, 0.97, np.nan])
    np.testing.assert_allclose(DiceCalibration().predicted(expected), expected, rtol=1e-9)


def test_a_falling_calibration_is_refused():
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        DiceCalibration(slope=-1)


SHIFT = ShiftCalibration(
    usual=0.9, lowest=0.8, level=3.0, by_doubt=1.5, by_strangeness=2.0,
    error=(0.02, 0.03, 0.05), interval=2.0, pieces=40, voxels=400, mean_error=0.04,
)  # fmt: skip
SHIFTED = DiceCalibration(slope=1.2, offset=-0.1, expected_error=0.01, shift=SHIFT)


def test_a_usual_image_keeps_its_dice_and_gets_a_small_error():
    told = SHIFTED.predict(0.9, strangeness=1.0, voxels=1600)
    assert told.left == 1
    assert told.dice == pytest.approx(expit(1.2 * logit(0.9) - 0.1))
    # of four times as many voxels as a piece: half of what all pieces share
    assert told.expected_error == pytest.approx(0.01 + 0.02 / 2)
    assert told.interval == pytest.approx((told.dice - 2 * 0.02, told.dice + 2 * 0.02))


def test_doubt_and_strangeness_take_of_the_dice_and_add_to_the_error():
    told = SHIFTED.predict(0.6, strangeness=np.e, voxels=100)
    doubt = logit(0.9) - logit(0.6)
    left = expit(3.0 - 1.5 * doubt - 2.0) / expit(3.0)
    assert told.left == pytest.approx(left)
    # below the lowest that was seen, the plain calibration is not asked
    assert told.dice == pytest.approx(left * expit(1.2 * logit(0.8) - 0.1))
    assert told.expected_error == pytest.approx(0.01 + 0.02 + 0.03 + 0.05 * 4 * left * (1 - left))


WITH_SPREAD = SHIFTED.model_copy(
    update={
        "shift": SHIFT.model_copy(
            update={
                "usual_spread": Spread(0.9, 0.1),
                "by_inside": 2.0,
                "by_more_outside": 1.0,
                "by_less_outside": 3.0,
            }
        )
    }
)


@pytest.mark.parametrize(
    ("spread", "doubt"),
    [
        (Spread(0.95, 0.1), 0.0),
        (Spread(0.6, 0.1), 2 * (logit(0.9) - logit(0.6))),
        (Spread(0.9, 0.4), np.log((0.4 + SPREAD_EDGE) / (0.1 + SPREAD_EDGE))),
        (Spread(0.9, 0.0), 3 * np.log((0.1 + SPREAD_EDGE) / SPREAD_EDGE)),
        (None, 0.0),
    ],
    ids=["surer inside", "less sure inside", "more outside", "nothing outside", "not known"],
)
def test_where_the_probability_lies_takes_of_the_dice(spread, doubt):
    told = WITH_SPREAD.predict(0.9, 1.0, 400, spread)
    assert told.left == pytest.approx(expit(3.0 - doubt) / expit(3.0))
    assert SHIFTED.predict(0.9, 1.0, 400, spread).left == 1  # made before it was looked at


def test_the_spread_of_a_class_is_what_lies_in_its_mask_and_beside_it():
    overlap, probability, predicted = np.array([[8.0, 0.0], [9.0, 3.0], [10.0, 0.0]])
    inside, nowhere = spread_of(overlap, probability, predicted)
    assert inside == pytest.approx((0.8, 0.1))
    assert np.isnan(nowhere).all()


def test_an_interval_ends_at_0_and_1_and_unknown_strangeness_takes_nothing():
    assert SHIFTED.predict(0.9999, strangeness=1.0).interval[1] == 1
    assert SHIFTED.predict(0.01, strangeness=50.0).interval[0] == 0
    assert SHIFTED.predict(0.85, np.nan, 400) == SHIFTED.predict(0.85, 0.5, 400)


def test_older_packages_tell_their_dice_without_an_interval():
    told = DiceCalibration(expected_error=0.03).predict(0.7)
    assert told == (pytest.approx(0.7), 0.03, None, 1.0)
