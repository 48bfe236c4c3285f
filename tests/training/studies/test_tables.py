import numpy as np

from training.studies.tables import as_csv, curve, mean, names, where

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
