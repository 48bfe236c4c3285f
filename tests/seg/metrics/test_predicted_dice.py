import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from seg.metrics import DiceCalibration, dice, expected_dice

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
