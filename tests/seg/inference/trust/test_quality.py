import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.random import default_rng

from seg.images import Image
from seg.inference import Predictor
from seg.inference.labels.decision import probabilities_of
from seg.inference.labels.entropy import probabilities_and_entropy, voxel_entropy
from seg.inference.tiling.sliding_window import Slab
from seg.inference.trust.quality import BLOCK, QualityMeter
from seg.metrics import DiceCalibration, SelfAssessment, ShiftCalibration, Spread
from seg.model_package import ModelPackage
from tests.packages import CLASSES, write_package

TASKS = st.sampled_from(["exclusive", "regions"])


@settings(deadline=None)
@given(arrays(np.float32, (3, 4, 5), elements=st.floats(-1e3, 1e3, width=32)), TASKS)
def test_entropy_lies_between_0_and_1(logits, task):
    found = voxel_entropy(probabilities_of(logits, task), task)
    assert found.shape == (4, 5)
    assert ((found >= 0) & (found <= 1)).all()


@settings(deadline=None)
@given(arrays(np.float32, (3, 4, 5), elements=st.floats(-100, 100, width=32)), TASKS)
def test_both_at_once_are_what_they_are_alone(logits, task):
    probabilities, unsure = probabilities_and_entropy(logits, task)
    np.testing.assert_allclose(probabilities, probabilities_of(logits, task), atol=1e-6)
    expected = voxel_entropy(probabilities_of(logits.astype(np.float64), task), task)
    np.testing.assert_allclose(unsure, expected, atol=5e-6)  # float32 against float64


@pytest.mark.parametrize("classes", [2, 3, 20])
def test_entropy_is_0_of_a_certain_class_and_1_of_equal_ones(classes):
    certain = np.zeros((classes, 4), np.float32)
    certain[0] = 1
    assert (voxel_entropy(certain) == 0).all()
    np.testing.assert_allclose(voxel_entropy(np.full((classes, 4), 1 / classes)), 1, rtol=1e-6)


@pytest.fixture(scope="module")
def package(tiny_package):
    return ModelPackage.load(tiny_package)


def assessed(package, **fields):
    card = package.card.model_copy(update={"quality": SelfAssessment(**fields)})
    return ModelPackage(package.path, card)


def image(shape=(40, 60), seed=0):
    return Image(default_rng(seed).integers(0, 255, (1, *shape)).astype(np.uint8))


def test_segment_gives_the_mask_that_predict_gives(package):
    predictor = Predictor(package)
    found = predictor.segment(image(), maps=("uncertainty", "probabilities"))
    np.testing.assert_array_equal(found.mask.array, predictor.predict(image()).array)
    assert found.maps["uncertainty"].array.shape == (1, 40, 60)
    winner = found.maps["probabilities"].array.argmax(axis=0)
    assert (winner == found.mask.array).mean() > 0.99  # float16 makes a few ties


def test_maps_are_put_together_from_slabs(package):
    long = image((150, 40))
    maps = Predictor(package).segment(long, maps=("probabilities",)).maps
    observed = []
    Predictor(package).predict(long, observe=lambda slab, _: observed.append(slab))
    assert len(observed) > 1
    whole = probabilities_of(np.concatenate([slab.logits for slab in observed], axis=1))
    np.testing.assert_allclose(maps["probabilities"].array, whole, atol=1e-3)


def test_a_slab_larger_than_a_block_is_taken_whole(package):
    shape = (3, BLOCK)
    logits = default_rng(0).normal(size=(3, *shape)).astype(np.float32)
    meter = QualityMeter(package.card, shape, ("uncertainty",))
    labels = np.ones(shape, np.uint8)
    meter(Slab(0, 3, logits), labels)
    expected = voxel_entropy(probabilities_of(logits))
    np.testing.assert_allclose(meter.maps["uncertainty"][0], expected, atol=1e-3)
    assert meter.quality().uncertainty == pytest.approx(expected.mean(), rel=1e-4)


def test_a_higher_temperature_is_less_sure_and_leaves_mask_and_predicted_dice(package):
    dice = {"nucleus": DiceCalibration()}
    sure, unsure = (
        Predictor(assessed(package, temperature=t, dice=dice)).segment(image()) for t in (1, 3)
    )
    assert unsure.quality.uncertainty > sure.quality.uncertainty
    assert unsure.quality.predicted_dice == sure.quality.predicted_dice
    np.testing.assert_array_equal(unsure.mask.array, sure.mask.array)


def test_probabilities_are_those_of_logits_by_the_temperature(package):
    logits = []
    Predictor(package).predict(image(), observe=lambda slab, _: logits.append(slab.logits.copy()))
    expected = probabilities_of(np.concatenate(logits, axis=1) / 3)
    tempered = Predictor(assessed(package, temperature=3)).predict_probabilities(image())
    np.testing.assert_allclose(tempered, expected, atol=1e-6)


def test_only_calibrated_classes_of_the_mask_get_a_predicted_dice(package):
    dice = {
        "cytoplasm": DiceCalibration(offset=-1, expected_error=0.05),
        "nucleus": DiceCalibration(),
    }
    calibrated = Predictor(assessed(package, dice=dice))
    mottled = default_rng(0).integers(112, 144, (1, 40, 40)).astype(np.uint8)
    grey = calibrated.segment(Image(mottled)).quality
    assert set(grey.predicted_dice) == {"cytoplasm"}
    assert grey.expected_error == {"cytoplasm": 0.05}
    assert Predictor(package).segment(image()).quality.predicted_dice == {}


def test_a_mask_that_is_less_sure_within_than_usual_is_expected_to_be_worse(package):
    def predicted(by_inside):
        shift = ShiftCalibration(
            usual=0.9, usual_spread=Spread(0.9999, 0.0), lowest=0.8, level=3.0, by_doubt=0.0,
            by_inside=by_inside, by_strangeness=0.0, error=(0.02, 0.03, 0.05), interval=2.0,
            pieces=40, voxels=400, mean_error=0.04,
        )  # fmt: skip
        dice = {"nucleus": DiceCalibration(shift=shift)}
        told = Predictor(assessed(package, dice=dice)).segment(image()).quality
        return told.predicted_dice["nucleus"]

    assert predicted(by_inside=2.0) < predicted(by_inside=0.0) - 0.05


def test_of_an_image_that_shows_nothing_nothing_is_expected(package):
    dice = {"cytoplasm": DiceCalibration(offset=-1, expected_error=0.05)}
    said = Predictor(assessed(package, dice=dice)).segment(
        Image(np.full((1, 40, 40), 128, np.uint8))
    )
    assert (said.mask.array > 0).any()
    assert said.quality.predicted_dice == {"cytoplasm": 0}
    assert said.quality.expected_error["cytoplasm"] > 0.05
    assert any("seems to be empty" in each for each in said.quality.warnings)


def test_an_empty_mask_has_no_uncertainty_to_speak_of(package):
    quality = Predictor(package).segment(Image(np.zeros((1, 40, 40), np.uint8))).quality
    assert quality.uncertainty is None


def test_regions_have_a_predicted_dice_each(tmp_path):
    package = ModelPackage.load(write_package(tmp_path / "package", task="regions"))
    names = [info.name for info in CLASSES[1:]]
    dice = {name: DiceCalibration() for name in names}
    found = Predictor(assessed(package, dice=dice)).segment(image(), maps=("probabilities",))
    assert list(found.quality.predicted_dice) == names
    inner = found.maps["probabilities"].array.astype(np.float64)
    for channel, name in enumerate(names):
        where = inner[channel] > 0.5
        expected = 2 * inner[channel][where].sum() / (inner[channel].sum() + where.sum())
        assert found.quality.predicted_dice[name] == pytest.approx(expected, abs=2e-3)
