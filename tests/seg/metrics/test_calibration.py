import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from seg.metrics import expected_calibration_error, reliability


def ece(confidence, is_right):
    return expected_calibration_error(reliability(np.array(confidence), np.array(is_right)))


@pytest.mark.parametrize(
    ("confidence", "is_right", "expected"),
    [
        pytest.param([0.8] * 5, [True] * 4 + [False], 0.0, id="right as often as it says"),
        pytest.param([1.0, 1.0, 1.0, 1.0], [True, True, False, False], 0.5, id="too sure"),
        pytest.param([0.0, 1.0], [False, True], 0.0, id="certain and right"),
        pytest.param([0.9, 0.1, 0.1, 0.1], [False, True, False, False], 0.4, id="bins by hand"),
    ],
)
def test_the_error_of_a_few_voxels_equals_the_hand_count(confidence, is_right, expected):
    # by hand, of the last: 1/4 · |0.9 - 0| + 3/4 · |0.1 - 1/3|
    assert ece(confidence, is_right) == pytest.approx(expected)


def test_errors_of_a_bin_cancel_and_those_of_two_bins_do_not():
    assert ece([0.5, 0.5], [True, False]) == 0
    assert ece([0.4, 0.6], [True, False]) == pytest.approx(0.6)


def test_nothing_counted_is_no_error():
    assert np.isnan(expected_calibration_error(np.zeros((3, 15))))


@given(arrays(np.float32, st.integers(1, 50), elements=st.floats(0, 1, width=32)), st.data())
def test_counts_of_parts_add_up_to_those_of_the_whole(confidence, data):
    is_right = data.draw(arrays(bool, confidence.shape))
    cut = data.draw(st.integers(0, len(confidence)))
    parts = reliability(confidence[:cut], is_right[:cut]) + reliability(
        confidence[cut:], is_right[cut:]
    )
    np.testing.assert_allclose(parts, reliability(confidence, is_right))
    assert 0 <= expected_calibration_error(parts) <= 1
