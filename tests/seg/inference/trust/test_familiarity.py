import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.random import default_rng

from seg.images import Image
from seg.inference import Predictor
from seg.inference.trust.familiarity import NOTHING_SHOWN, unfamiliar
from seg.model_package import Channel, InputSpec, ModelPackage, TrainingFingerprint
from seg.model_package.provenance import ANY_INTENSITY, IntensityStatistics
from seg.transforms import CommonScale, Normalisation, Preprocessing
from seg.transforms.levels import PERCENTILES, percentiles_of

CT = Normalisation(kind="clip_zscore", low=-1000, high=1000, mean=0, std=300)
SEEN = TrainingFingerprint(
    cases=9,
    shape=((50, 100), (200, 256), (200, 256)),
    spacing=((1.0, 3.0), (0.7, 0.9), (0.7, 0.9)),
    intensity=((-1000, 600),),
)


def spec(normalisation=CT, spacing=(1.5, 0.8, 0.8), dims=3):
    return InputSpec(
        channels=(Channel(name="CT"),),
        patch=(8,) * dims,
        preprocessing=Preprocessing(spacing=spacing, normalisation=(normalisation,)),
    )


def scan(shape=(60, 220, 220), spacing=(2.0, 0.8, 0.8), low=-1000, high=600):
    array = default_rng(0).uniform(low, high, (1, *shape)).astype(np.float32)
    return Image(array, spacing=spacing)


def test_an_image_like_those_of_training_draws_no_warning():
    assert unfamiliar(scan(), spec(), SEEN) == ()


@pytest.mark.parametrize(("high", "warns"), [(1300, False), (1500, True)])
def test_brighter_objects_on_the_scale_of_the_training_are_no_other_unit(high, warns):
    scale = CommonScale(bottom=-2000, middle=(-400, 600), top=1500, median=-200, spread=500)
    rule = Normalisation(kind="reference", low=-1400, high=1000, mean=-200, std=450, scale=scale)
    assert bool(unfamiliar(scan(high=high), spec(rule), SEEN)) is warns


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        pytest.param(
            scan(spacing=(5.0, 0.8, 0.8)),
            "the spacing along z is 5 mm, the model was trained on 1 to 3 mm",
            id="thick slices",
        ),
        pytest.param(scan(spacing=None), "does not state its spacing", id="no spacing"),
        pytest.param(
            scan(shape=(9, 220, 220)),
            "measures 18 mm along z, the model was trained on 50 to 300 mm",
            id="three slices",
        ),
        pytest.param(
            scan(low=0, high=4000),
            r"intensities go from 20\S* to 39\d\d, the model was trained on -1000 to 600",
            id="not Hounsfield",
        ),
        pytest.param(scan(low=0, high=1), r"from 0.005\d* to 0.99\d* only", id="rescaled"),
        pytest.param(scan(low=7, high=7), "almost all intensities are 7", id="empty"),
    ],
)
def test_what_is_unlike_the_training_is_said_with_numbers(image, sentence):
    warning, *others = unfamiliar(image, spec(), SEEN)
    assert re.search(sentence, warning), warning
    assert set(others) <= {NOTHING_SHOWN}


def test_a_spacing_that_is_not_stated_is_said_also_where_the_training_did_not_tell_its_own():
    silent = SEEN.model_copy(update={"spacing": None})
    (warning,) = unfamiliar(scan(spacing=None), spec(), silent)
    assert "does not state its spacing" in warning
    assert unfamiliar(scan(spacing=(5.0, 0.8, 0.8)), spec(), silent) == ()
    assert "along z is 0.002 mm" in unfamiliar(scan(spacing=(0.002, 0.8, 0.8)), spec(), silent)[0]


def test_intensities_that_each_image_is_normalised_by_draw_no_warning():
    unscaled = scan(low=0, high=4000)
    assert unfamiliar(unscaled, spec(Normalisation(kind="zscore")), SEEN) == ()


@pytest.mark.parametrize(("cases", "warns"), [(1, False), (9, True)])
def test_a_single_training_image_shows_little_of_what_is_usual(cases, warns):
    """Twice as much contrast: beside nine images it is odd, beside one it may be the next."""
    usual = IntensityStatistics(mean=(-200, -200), deviation=(200, 200), noise_share=(1, 1))
    seen = SEEN.model_copy(update={"cases": cases, "statistics": (usual,)})
    assert bool(unfamiliar(scan(shape=(50, 200, 200)), spec(), seen)) is warns


def test_where_neither_training_nor_model_has_a_spacing_any_is_taken():
    """As of a model that was made elsewhere."""
    seen = SEEN.model_copy(update={"spacing": None, "shape": ((1, 999),) * 3})
    assert unfamiliar(scan(), spec(spacing=None), seen) == ()


def test_sizes_without_resampling_are_told_in_pixels():
    seen = TrainingFingerprint(cases=2, shape=((64, 64),) * 2, intensity=((0, 255),))
    image = Image(default_rng(0).integers(0, 255, (1, 20, 64)).astype(np.uint8))
    found = unfamiliar(image, spec(Normalisation(), None, dims=2), seen)
    assert found == ("the image measures 20 pixels along y, the model was trained on 64 pixels",)


def test_percentiles_of_a_large_image_do_not_come_from_one_column():
    columns = np.linspace(0, 255, 1024, dtype=np.float32)
    image = Image(np.broadcast_to(columns, (1, 2048, 1024)))
    seen = TrainingFingerprint(cases=2, shape=((1024, 2048),) * 2, intensity=((0, 255),))
    rescale = Normalisation(kind="rescale", low=0, high=255)
    assert unfamiliar(image, spec(rescale, None, dims=2), seen) == ()


def test_a_segmentation_carries_the_warnings(tiny_package):
    image = Image(default_rng(0).integers(0, 255, (1, 5, 40)).astype(np.uint8))
    warnings = Predictor(ModelPackage.load(tiny_package)).segment(image).quality.warnings
    assert len(warnings) == 1
    assert "5 pixels along y" in warnings[0]


@given(
    st.sampled_from([np.uint8, np.int8, np.uint16, np.int16, np.int32, np.float32])
    .flatmap(lambda dtype: arrays(dtype, st.tuples(st.integers(1, 30), st.integers(1, 30))))
    .filter(lambda voxels: np.isfinite(voxels).all())
)
def test_percentiles_of_counted_integers_are_those_of_sorted_ones(voxels):
    expected = np.percentile(voxels.astype(np.float64), PERCENTILES)
    found = percentiles_of(voxels.ravel(), PERCENTILES)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("degrees", "is_warned"), [(25, False), (45, True)])
def test_axes_that_no_gantry_shears_are_warned_of(degrees, is_warned):
    affine = np.eye(4)
    affine[0, 1] = np.tan(np.radians(degrees))
    said = unfamiliar(Image(scan().array, affine=affine), spec(), SEEN)
    assert any("right angles" in each for each in said) is is_warned


@pytest.mark.parametrize(
    ("array", "is_empty"),
    [
        (np.full((1, 60, 220, 220), 40.0), True),
        (default_rng(0).normal(40, 1, (1, 60, 220, 220)), True),
        (np.linspace(-900, 500, 60)[None, :, None, None] * np.ones((1, 60, 220, 220)), False),
    ],
    ids=["one number", "faint noise", "full range"],
)
def test_an_image_that_shows_nothing_is_called_empty(array, is_empty):
    said = unfamiliar(Image(array.astype(np.float32), spacing=(2.0, 0.8, 0.8)), spec(), SEEN)
    assert (NOTHING_SHOWN in said) is is_empty


def test_a_model_that_does_not_tell_its_intensities_warns_of_no_others():
    seen = SEEN.model_copy(update={"intensity": (ANY_INTENSITY,)})
    assert unfamiliar(scan(), spec(), seen) == ()
    flat = unfamiliar(Image(np.ones((1, 60, 220, 220)), spacing=(2.0, 0.8, 0.8)), spec(), seen)
    assert any("seems to be empty" in sentence for sentence in flat)


def test_an_image_in_another_unit_is_not_called_empty():
    zscore = Normalisation(kind="zscore")
    said = unfamiliar(scan(low=0, high=1), spec(zscore), SEEN)
    assert NOTHING_SHOWN not in said
