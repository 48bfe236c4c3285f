"""A training's end is told from its first third, with an interval, or not at all."""

import numpy as np
import pytest
from numpy.random import default_rng
from scipy.special import expit, logit

from training.learning.outlook import MARKS, outlook_of


def curve(end, gain, noise, seed=0):
    """Looks at the first third of a training that ends at that Dice, and what it ends at."""
    rng = default_rng(seed)
    at = np.array([*MARKS, 1.0])
    dice = expit(logit(end) + gain * np.log(at) + rng.normal(0, noise, at.shape))
    return list(zip(at[:-1], dice[:-1], strict=True)), float(dice[-1])


def test_nine_of_ten_ends_lie_within_the_interval():
    rng = default_rng(0)
    held = []
    for seed in range(300):
        looks, end = curve(rng.uniform(0.8, 0.97), rng.uniform(0, 0.9), rng.uniform(0, 0.2), seed)
        if found := outlook_of(looks, 50):
            assert found.low <= found.dice <= found.high
            held.append(found.low <= end <= found.high)
    assert len(held) > 200
    assert np.mean(held) >= 0.9


def test_a_curve_that_rises_is_expected_to_rise_half_as_much():
    looks, end = curve(0.95, 0.4, 0.0)
    found = outlook_of(looks, 50)
    assert looks[-1][1] < found.dice < end < found.high


def test_a_curve_that_has_flattened_stays():
    looks = [*curve(0.9, 1.5, 0.0)[0][:3], *((mark, 0.9) for mark in MARKS[3:])]
    assert outlook_of(looks, 50).dice == pytest.approx(0.9, abs=1e-6)


@pytest.mark.parametrize(
    "looks",
    [
        pytest.param([(0.1, 0.8), (0.2, 0.85)], id="few looks"),
        pytest.param([(m, 0.9 if i % 2 else 0.5) for i, m in enumerate(MARKS)], id="to and fro"),
        pytest.param(
            [(m, 0.5 if m < 0.25 else 0.95) for m in MARKS], id="a jump that nothing foretold"
        ),
        pytest.param(
            [*((m, 0.97) for m in MARKS[:-1]), (MARKS[-1], 0.986)], id="not what was foretold"
        ),
        pytest.param([(m, float("nan")) for m in MARKS], id="nothing to score"),
    ],
)
def test_what_cannot_be_told_is_not_told(looks):
    assert outlook_of(looks, 50) is None


def test_a_handful_of_steps_tells_nothing():
    looks, _ = curve(0.95, 0.4, 0.0)
    assert outlook_of(looks, 29) is None
    assert outlook_of(looks, 30) is not None


AT = (0.04, 0.08, 0.12, 0.16, 0.2, 0.24, 0.28, 0.34)


@pytest.mark.parametrize(
    ("dice", "end"),
    [
        pytest.param([0.78, 0.896, 0.895, 0.893, 0.893, 0.895, 0.898, 0.906], 0.907, id="hela"),
        pytest.param(
            [0.279, 0.549, 0.653, 0.71, 0.733, 0.727, 0.742, 0.757], 0.755, id="scratch-assay"
        ),
    ],
)
def test_real_trainings_end_where_it_was_told(dice, end):
    """Of 100 steps each."""
    found = outlook_of(list(zip(AT, dice, strict=True)), 34)
    assert found.low <= end <= found.high
    assert found.dice == pytest.approx(end, abs=0.04)
