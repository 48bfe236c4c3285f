import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import default_rng
from scipy import ndimage

from seg.errors import ImageTooLargeError
from seg.transforms import resample_image, resample_labels, resample_rows, resampled_shape

SIZES = st.lists(st.integers(1, 12), min_size=2, max_size=3)


def test_a_change_of_spacing_changes_the_size_by_its_ratio():
    assert resampled_shape((10, 40, 40), (5.0, 1.0, 0.5), (2.5, 1.0, 1.0)) == (20, 40, 20)


def test_a_small_image_in_another_unit_does_not_become_an_enormous_one():
    assert resampled_shape((500, 512, 512), (1.0, 1.0, 1.0), (0.5, 0.5, 0.5)) == (1000, 1024, 1024)
    with pytest.raises(ImageTooLargeError, match=r"2e\+04 x 2e\+04 x 2e\+04.*is the unit"):
        resampled_shape((20, 20, 20), (1000.0,) * 3, (1.0,) * 3)


def test_an_image_without_spacing_keeps_its_size():
    assert resampled_shape((10, 40), None, (1.0, 1.0)) == (10, 40)


@given(SIZES)
def test_resampling_to_the_same_size_changes_nothing(shape):
    array = default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    np.testing.assert_array_equal(resample_image(array, tuple(shape)), array)
    np.testing.assert_allclose(resample_rows(array, tuple(shape), range(shape[0])), array)


def test_a_straight_slope_stays_straight_where_the_size_is_doubled():
    slope = np.linspace(0, 1, 20, dtype=np.float32)[None, None].repeat(20, axis=1)
    doubled = resample_image(slope, (40, 40))
    # the first voxel's centre moves a quarter of an old voxel towards the edge
    expected = (np.arange(40) + 0.5) / 2 - 0.5
    np.testing.assert_allclose(doubled[0, 7, 8:-8], expected[8:-8] / 19, atol=2e-3)


@pytest.mark.parametrize("goal", [(8, 8, 8), (8, 4, 8)])
def test_a_coarse_axis_is_not_interpolated(goal):
    slices = np.zeros((1, 4, 8, 8), np.float32)
    slices[0, 2:] = 1
    finer = resample_image(slices, goal, spacing=(5.0, 1.0, 1.0))
    assert set(np.unique(finer.round(5))) == {0.0, 1.0}


@given(SIZES, st.data())
def test_resampled_labels_are_labels_that_were_there(shape, data):
    goal = data.draw(st.tuples(*[st.integers(1, 20)] * len(shape)))
    labels = default_rng(1).choice([0, 3, 7], size=shape).astype(np.uint8)
    resampled = resample_labels(labels, goal)
    assert resampled.shape == goal
    assert set(np.unique(resampled)) <= set(np.unique(labels))


@given(SIZES, st.data())
def test_rows_put_together_equal_the_whole(shape, data):
    goal = data.draw(st.tuples(*[st.integers(1, 20)] * len(shape)))
    cut = data.draw(st.integers(0, goal[0]))
    logits = default_rng(2).normal(size=(3, *shape)).astype(np.float32)
    whole = resample_rows(logits, goal, range(goal[0]))
    parts = [resample_rows(logits, goal, r) for r in (range(cut), range(cut, goal[0]))]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


@pytest.mark.parametrize("goal", [(9, 17), (31, 8)])
def test_rows_equal_the_linear_interpolation_of_scipy(goal):
    logits = default_rng(3).normal(size=(1, 12, 13)).astype(np.float32)
    factors = [new / old for new, old in zip(goal, (12, 13), strict=True)]
    expected = ndimage.zoom(logits[0], factors, order=1, mode="nearest", grid_mode=True)
    np.testing.assert_allclose(resample_rows(logits, goal, range(goal[0]))[0], expected, atol=1e-5)
