import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.random import default_rng

from seg.images import Image
from seg.transforms import CommonScale, Normalisation, Preprocessing, prepare
from seg.transforms.levels import PERCENTILES, Levels, noise_of, percentiles_of, sample_of

OFFSET, NOISE, GLOW = 3000, 10, 600
SCALE = CommonScale(bottom=2900, middle=(2950, 3300), top=3900, median=3002, spread=12)
REFERENCE = Normalisation(kind="reference", low=2900, high=3800, mean=3060, std=180, scale=SCALE)
ROBUST = Normalisation(kind="robust", low=-5, high=60, mean=4, std=12)


def field(cells, size=128):
    """Bright squares on a camera's offset."""
    rng = default_rng(0)
    image = rng.normal(OFFSET, NOISE, (size, size))
    for place in range(cells):
        y, x = np.array(divmod(place, 5)) * 24 + 5
        image[y : y + 12, x : x + 12] += GLOW
    return image


def prepared(array, rule):
    return prepare(
        Image(array[None].astype(np.float32)), Preprocessing(normalisation=(rule,))
    ).array


def is_noise(image):
    return image[100:, 100:]


@pytest.mark.parametrize("rule", [REFERENCE, ROBUST])
@pytest.mark.parametrize("cells", [0, 1, 5])
def test_the_noise_of_an_emptier_image_stays_as_small_as_in_a_full_one(rule, cells):
    noise_full, noise = (is_noise(prepared(field(n), rule)[0]).std() for n in (12, cells))
    assert noise == pytest.approx(noise_full, rel=0.35)


def test_a_z_score_makes_the_noise_of_an_empty_image_as_large_as_cells_are():
    """What the rules above are there for."""
    zscore = Normalisation(kind="zscore")
    noise_full, noise = (is_noise(prepared(field(n), zscore)[0]).std() for n in (12, 0))
    assert noise > 10 * noise_full


@pytest.mark.parametrize("rule", [REFERENCE, ROBUST])
def test_a_saturated_fibre_leaves_the_cells_as_they_are(rule):
    clean = field(12)
    fibre = clean.copy()
    fibre[60:63] = 65535
    beside = np.ones_like(clean, bool)
    beside[60:63] = False
    difference = np.abs(prepared(clean, rule)[0] - prepared(fibre, rule)[0])[beside]
    assert difference.max() < 0.1 * prepared(clean, rule).max()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda image: image / 256, id="8 bits"),
        pytest.param(lambda image: 2 * image + 10_000, id="another camera"),
        pytest.param(lambda image: image - 3000, id="offset removed"),
    ],
)
def test_an_image_of_another_scale_is_brought_to_that_of_training(change):
    here, there = (prepared(image, REFERENCE)[0] for image in (field(12), change(field(12))))
    assert np.corrcoef(here.ravel(), there.ravel())[0, 1] > 0.99
    assert there.std() == pytest.approx(here.std(), rel=0.5)


def test_a_spread_is_found_where_most_voxels_are_one_number():
    head = np.zeros((50, 50))
    head[:19, :19] = default_rng(0).normal(800, 50, (19, 19))
    assert Levels.of(sample_of(head)).spread > 100
    assert Levels.of(sample_of(np.full((9, 9), 7.0))).spread == 1


def test_noise_is_told_from_objects():
    assert noise_of(field(20)) == pytest.approx(NOISE, rel=0.1)
    assert noise_of(np.zeros((4, 1))) == 0


@given(
    st.sampled_from([np.uint8, np.int16, np.uint16, np.int32]).flatmap(
        lambda dtype: arrays(dtype, st.integers(1, 40))
    )
)
def test_percentiles_are_numpy_s_whatever_the_type(sample):
    expected = np.percentile(sample.astype(np.float64), PERCENTILES)
    np.testing.assert_allclose(percentiles_of(sample, PERCENTILES), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("bottom", "median", "top", "lies"),
    [
        (2900, 2950, 3900, True),
        (2900, 3300, 3900, True),
        (2899, 3000, 3900, False),
        (2900, 2949, 3900, False),
        (2900, 3301, 3900, False),
        (2900, 3000, 3901, False),
    ],
)
def test_an_image_lies_on_a_scale_within_all_of_its_limits(bottom, median, top, lies):
    levels = Levels(np.array([0, bottom, bottom, median, top, top, 9999], float))
    assert levels.lies_on(SCALE) is lies


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int16, np.int32, np.float32])
@pytest.mark.parametrize("shape", [(40, 37), (6, 9, 11), (1, 2)])
def test_noise_is_the_median_difference_of_neighbours_whatever_the_type(kind, shape):
    largest = np.iinfo(kind).max if np.issubdtype(kind, np.integer) else 1000
    lowest = np.iinfo(kind).min if np.issubdtype(kind, np.integer) else -1000
    channel = np.random.default_rng(0).uniform(lowest, largest, shape).astype(kind)
    differences = np.abs(np.diff(channel.reshape(-1).astype(np.float64)))
    assert noise_of(channel) == np.median(differences) / (0.6745 * np.sqrt(2))
