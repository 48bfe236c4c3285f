from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import default_rng

from seg.errors import ImageError
from seg.images import Image
from seg.transforms import CommonScale, Normalisation, Preprocessing, prepare, prepare_rows
from seg.transforms.intensity import PERCENTILES
from seg.transforms.statistics import percentiles_of_parts

RULES = (
    Normalisation(kind="zscore"),
    Normalisation(kind="percentile"),
    Normalisation(kind="minmax"),
    Normalisation(kind="clip_zscore", low=-50, high=900, mean=100, std=200),
    Normalisation(kind="rescale", low=0, high=1000),
    Normalisation(kind="robust", low=-3, high=9, mean=0.1, std=1.2),
    Normalisation(
        kind="reference", low=-50, high=900, mean=100, std=200,
        scale=CommonScale(bottom=0, middle=(120, 130), top=250, median=100, spread=40),
    ),
)  # fmt: skip
SPACINGS = st.sampled_from([0.5, 0.7, 1.0, 1.3, 2.0, 5.0])


def streamed(image, spec, part_bytes, rows):
    """The image from parts of that size, had that many rows at a time."""
    with (
        patch("seg.transforms.rows.PART_BYTES", part_bytes),
        patch("seg.transforms.rows.FEWEST_ROWS", 3),
    ):
        source = prepare_rows(image, spec, whole_bytes=0)
        size = source.shape[1]
        parts = [source.rows(i, min(i + rows, size)) for i in range(0, size, rows)]
    return np.concatenate(parts, axis=1)


@given(
    shape=st.lists(st.integers(1, 30), min_size=2, max_size=3),
    spacing=st.lists(SPACINGS, min_size=3, max_size=3),
    target=st.none() | st.lists(SPACINGS, min_size=3, max_size=3),
    rules=st.lists(st.sampled_from(RULES), min_size=1, max_size=3),
    dtype=st.sampled_from([np.uint8, np.int16, np.float32, np.float64]),
    part_bytes=st.integers(1, 20_000),
    rows=st.integers(1, 40),
)
@settings(max_examples=80, deadline=None)
def test_an_image_prepared_in_parts_is_the_image_prepared_whole(
    shape, spacing, target, rules, dtype, part_bytes, rows
):
    dims = len(shape)
    array = default_rng(0).uniform(0, 250, (len(rules), *shape)).astype(dtype)
    image = Image(array, spacing=tuple(spacing[:dims]))
    spec = Preprocessing(
        spacing=tuple(target[:dims]) if target else None, normalisation=tuple(rules)
    )
    whole = prepare(image, spec)
    np.testing.assert_allclose(
        streamed(image, spec, part_bytes, rows), whole.array, rtol=1e-4, atol=1e-4
    )


@given(
    st.lists(
        st.floats(width=32, allow_nan=False, allow_infinity=False) | st.sampled_from([0, 1, -1]),
        min_size=1,
        max_size=300,
    ),
    st.integers(1, 50),
)
def test_percentiles_of_parts_are_those_of_the_whole(values, rows):
    x = np.array([values, values[::-1]], np.float32)
    parts = [x[:, i : i + rows] for i in range(0, x.shape[1], rows)]
    expected = np.percentile(x.astype(np.float64), PERCENTILES, axis=1).T
    np.testing.assert_allclose(percentiles_of_parts(lambda: iter(parts)), expected, rtol=1e-6)


def test_an_image_that_fits_is_prepared_whole_and_bit_for_bit():
    image = Image(default_rng(0).normal(size=(1, 20, 30)), spacing=(1.0, 2.0))
    spec = Preprocessing(spacing=(1.5, 1.5), normalisation=RULES[:1])
    rows = prepare_rows(image, spec)
    np.testing.assert_array_equal(rows.rows(0, rows.shape[1]), prepare(image, spec).array)


def test_nan_far_down_in_a_large_image_is_refused():
    array = np.zeros((1, 40, 40), np.float32)
    array[0, 39, 39] = np.nan
    source = prepare_rows(Image(array), Preprocessing(normalisation=RULES[4:5]), whole_bytes=0)
    source.rows(0, 20)
    with pytest.raises(ImageError, match="NaN or infinite"):
        source.rows(20, 40)
