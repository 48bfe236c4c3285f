import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import default_rng
from pydantic import ValidationError

from seg.errors import ImageError
from seg.images import Image
from seg.transforms import Normalisation, Preprocessing, normalise, prepare, surround

ZSCORE = Normalisation(kind="zscore")


def test_zscore_leaves_mean_0_and_deviation_1_in_each_channel():
    array = default_rng(0).normal(500, 40, size=(2, 30, 30)).astype(np.uint16)
    scored = normalise(array, (ZSCORE, ZSCORE))
    np.testing.assert_allclose(scored.mean(axis=(1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(scored.std(axis=(1, 2)), 1, atol=1e-5)


def test_a_constant_image_becomes_zero_and_not_nan():
    assert not normalise(np.full((1, 4, 4), 7, np.uint8), (ZSCORE,)).any()


def test_ct_is_clipped_before_it_is_scored():
    rule = Normalisation(kind="clip_zscore", low=-100, high=100, mean=0, std=50)
    array = np.array([[[-1000, -50, 0, 50, 3000]]], np.int16)
    np.testing.assert_allclose(normalise(array, (rule,))[0, 0], [-2, -1, 0, 1, 2])


def test_rescale_maps_its_range_to_0_and_1():
    rule = Normalisation(kind="rescale", low=0, high=255)
    np.testing.assert_allclose(
        normalise(np.array([[[0, 51, 255]]], np.uint8), (rule,))[0, 0], [0, 0.2, 1]
    )


def test_percentile_is_blind_to_one_hot_pixel():
    rule = Normalisation(kind="percentile")
    array = default_rng(0).normal(100, 10, size=(1, 50, 50)).astype(np.float32)
    hot = array.copy()
    hot[0, 0, 0] = 1e6
    np.testing.assert_allclose(
        normalise(hot, (rule,))[0, 1:], normalise(array, (rule,))[0, 1:], atol=0.05
    )


def test_a_rule_without_its_numbers_is_refused():
    with pytest.raises(ValidationError, match="clip_zscore needs mean, std"):
        Normalisation(kind="clip_zscore", low=0, high=1)


def test_nan_is_refused():
    with pytest.raises(ImageError, match="NaN or infinite"):
        normalise(np.array([[[np.nan, 1]]], np.float32), (ZSCORE,))


def test_a_wrong_number_of_channels_is_refused_with_what_to_do():
    spec = Preprocessing(normalisation=(ZSCORE, ZSCORE))
    with pytest.raises(ImageError, match="needs images of 2 channels, got 1; send all channels"):
        prepare(Image(np.ones((1, 4, 4), np.uint8)), spec)


def test_an_image_is_resampled_to_the_target_spacing():
    spec = Preprocessing(spacing=(1.0, 1.0), normalisation=(ZSCORE,))
    image = Image(default_rng(0).normal(size=(1, 10, 20)), spacing=(2.0, 0.5))
    prepared = prepare(image, spec)
    assert prepared.array.shape == (1, 20, 10)
    assert prepared.original_shape == (10, 20)


SIZES = st.lists(st.integers(1, 20), min_size=3, max_size=3)


@given(st.lists(st.integers(1, 9), min_size=2, max_size=3), SIZES, SIZES | st.just([0, 0, 0]))
def test_surrounding_then_cutting_is_the_identity(shape, patch, margin):
    dims = len(shape)
    array = default_rng(0).normal(size=(2, *shape))
    larger = surround(array, margin[:dims], patch[:dims])
    assert all(have >= want for have, want in zip(larger.shape[1:], patch, strict=False))
    inside = tuple(slice(m, m + n) for m, n in zip(margin, shape, strict=False))
    np.testing.assert_array_equal(larger[(slice(None), *inside)], array)


def test_a_margin_is_empty_and_no_margin_mirrors():
    array = np.ones((1, 3, 3))
    assert surround(array, (2, 1), (8, 8)).sum() == array.sum()
    assert surround(array, (0, 0), (8, 8)).min() == 1
