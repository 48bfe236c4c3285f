import numpy as np
import pytest
from scipy import stats

from seg.metrics import student_mean
from training.studies.tables import (
    as_csv,
    change,
    curve,
    falls,
    in_words,
    mean,
    names,
    rises,
    summary,
    where,
)

ROWS = [
    {"network": "none", "layers": 9, "seed": seed, "draw": draw, "dice": seed + draw / 2}
    for seed in (0, 1, 2)
    for draw in (0, 1)
]


def test_draws_of_a_seed_are_averaged_before_the_spread_over_seeds_is_taken():
    average, spread = mean(ROWS, "dice")
    assert average == 1.25
    assert spread == np.std([0.25, 1.25, 2.25], ddof=1)


def test_a_curve_goes_through_its_points_in_order():
    rows = [*ROWS, {"network": "none", "layers": 5, "seed": 0, "dice": 9.0}]
    points = curve(rows, "layers", "dice")
    assert points.x.tolist() == [5, 9]
    assert points.mean.tolist() == [9, 1.25]
    assert points.error.tolist() == [0, np.std([0.25, 1.25, 2.25], ddof=1)]


def test_a_column_that_a_row_lacks_stays_empty():
    text = as_csv([{"network": "a", "x": 1}, {"network": "b", "y": 2}]).decode()
    assert text.splitlines() == ["network,x,y", "a,1,", "b,,2"]


def test_rows_are_found_by_their_columns():
    assert len(where(ROWS, seed=1, draw=0)) == 1
    assert names(ROWS) == ["none"]


def test_the_interval_over_seeds_is_students():
    values = [0.7, 0.8, 0.75]
    found = student_mean(values)
    low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high))


def test_networks_are_compared_seed_by_seed():
    spread = [{"seed": seed, "loss": 10.0 * seed} for seed in range(3)]
    lower = [{"seed": seed, "loss": 10.0 * seed - 1 - seed / 100} for seed in range(3)]
    difference = change(spread, lower, "loss")
    assert falls(difference)
    assert not rises(difference)
    assert in_words(difference, "+.2f") == "-1.01, -1.03 to -0.99"


def test_of_one_seed_nothing_is_said_to_rise_or_fall():
    one = [{"seed": 0, "loss": 1.0}]
    difference = change(one, [{"seed": 0, "loss": 9.0}], "loss")
    assert difference is None
    assert not rises(difference)
    assert not falls(difference)
    assert in_words(difference) == "one seed, no interval"


def test_a_summary_has_the_mean_of_each_measure_over_seeds():
    rows = [
        {"network": "none", "layers": layers, "seed": seed, "dice": layers / 10 + seed / 100}
        for layers in (5, 9)
        for seed in (0, 1, 2)
    ]
    shallow, deep = summary(rows)
    assert (shallow["layers"], shallow["measured"], shallow["seeds"]) == (5, "dice", 3)
    assert deep["mean"] == pytest.approx(0.91)
    assert deep["deviation"] == pytest.approx(0.01)
    assert deep["low"] < 0.9 < deep["mean"]
    assert "low" not in summary(rows[:1])[0]
