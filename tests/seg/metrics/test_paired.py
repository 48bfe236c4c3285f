import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.random import default_rng

from seg.metrics import paired_test

VALUES = arrays(np.float64, 9, elements=st.floats(0, 1).map(lambda x: round(x, 3)))


def test_the_smallest_p_is_reached_when_all_pairs_differ_in_one_sense():
    first = np.arange(6.0)
    test = paired_test(first, first + np.linspace(0.1, 0.2, 6), default_rng(0))
    assert test.p_value == pytest.approx(2 / 2**6)  # one of 64 signs, on either side
    assert test.smallest_p == test.p_value
    assert (test.higher, test.lower) == (6, 0)
    assert 0.1 <= test.difference.low <= 0.15 <= test.difference.high <= 0.2


def test_equal_pairs_have_no_p():
    test = paired_test(np.ones(5), np.ones(5), default_rng(0))
    assert math.isnan(test.p_value)
    assert test.difference.mean == 0
    assert test.smallest_p == 1


def test_pairs_with_a_gap_count_nowhere():
    first, second = np.array([0.1, np.nan, 0.3]), np.array([0.2, 0.5, np.nan])
    test = paired_test(first, second, default_rng(0))
    assert test.difference.cases == test.higher == 1


@settings(deadline=None, max_examples=25)
@given(VALUES, VALUES)
def test_exchanging_both_turns_the_sign_and_keeps_p(first, second):
    there, back = (paired_test(*p, default_rng(0)) for p in ((first, second), (second, first)))
    assert there.difference.mean == pytest.approx(-back.difference.mean)
    assert (there.higher, there.lower) == (back.lower, back.higher)
    assert there.p_value == pytest.approx(back.p_value, nan_ok=True)
    assert math.isnan(there.p_value) or there.p_value >= there.smallest_p * (1 - 1e-9)


def test_slices_of_one_subject_are_one_pair():
    first, step = np.zeros(40), np.repeat([0.1, 0.2, 0.3, -0.1], 10)
    test = paired_test(
        first, first + step, default_rng(0), [str(n) for n in np.repeat(range(4), 10)]
    )
    assert (test.higher, test.lower, test.smallest_p) == (3, 1, 0.125)
    assert test.p_value >= test.smallest_p
    assert test.difference.units == 4
