import math

import numpy as np
import pytest
import skimage.filters

from seg.metrics import otsu_dice, otsu_threshold


@pytest.mark.parametrize("seed", range(5))
def test_the_threshold_is_that_of_scikit_image(seed):
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.normal(50, 9, 900), rng.normal(160, 20, 300)]).reshape(30, 40)
    assert otsu_threshold(values) == pytest.approx(skimage.filters.threshold_otsu(values))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_two_levels_are_told_apart(dtype):
    values = np.full((6, 6), 10, dtype)
    values[2:4, 2:4] = 200
    assert 10 <= otsu_threshold(values) < 200


def test_what_is_not_finite_is_left_out():
    values = np.array([0.0, 0.0, 1.0, 1.0])
    spoilt = np.concatenate([values, [np.nan, np.inf, -np.inf]])
    assert otsu_threshold(spoilt) == otsu_threshold(values)


def test_nothing_lies_above_the_threshold_of_a_constant():
    assert otsu_threshold(np.full((4, 4), 7.5)) == 7.5
    assert math.isnan(otsu_threshold(np.full((4, 4), np.nan)))


@pytest.mark.parametrize("sign", [1, -1], ids=["bright", "dark"])
def test_the_floor_finds_bright_and_dark_objects(sign):
    reference = np.zeros((8, 8), bool)
    reference[2:5, 3:7] = True
    assert otsu_dice(sign * np.where(reference, 90.0, 10.0), reference) == 1.0


def test_the_floor_of_noise_is_low():
    rng = np.random.default_rng(0)
    reference = np.zeros((60, 60), bool)
    reference[:12] = True
    assert otsu_dice(rng.normal(size=(60, 60)), reference) < 0.4
