from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import default_rng

from seg.errors import ConfigError
from seg.images import Image, read_mask, write_image
from seg.inference import Predictor, Selection, encode_output, outputs_for, predict_file
from seg.inference.labels.decision import decided, labels_of, probabilities_of
from seg.model_package import ModelPackage, Postprocessing
from tests.packages import CLASSES, _card, write_package

SHAPE = (40, 50)
CARD = _card((32, 32), 1, "", "")
CARDS = {
    "exclusive": CARD,
    "two": CARD.model_copy(update={"classes": CLASSES[:2]}),
    "regions": CARD.model_copy(update={"task": "regions"}),
}


@pytest.fixture(scope="module", params=["exclusive", "regions"])
def package(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param) / "package"
    return ModelPackage.load(write_package(folder, task=request.param))


@pytest.fixture(scope="module")
def image():
    return Image(default_rng(0).integers(0, 255, (1, *SHAPE)).astype(np.uint8))


def mask_of(package, image, **selection):
    return Predictor(package, selection=Selection(**selection)).predict(image).array


def test_a_class_that_is_left_out_leaves_the_others_as_they_were(package, image):
    whole = mask_of(package, image)
    nucleus = mask_of(package, image, classes=("nucleus",))  # painted last, so nothing hides it
    np.testing.assert_array_equal(nucleus, np.where(whole == 2, 2, 0))


def test_a_region_that_is_left_out_hides_no_other(package, image):
    shown = mask_of(package, image, classes=("cytoplasm",)) == 1
    whole = mask_of(package, image)
    expected = whole > 0 if package.card.task == "regions" else whole == 1
    np.testing.assert_array_equal(shown, expected)


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.9])
def test_a_threshold_cuts_the_probabilities(package, image, threshold):
    predictor = Predictor(package)
    probabilities = predictor.predict_probabilities(image)
    if package.card.task == "regions":
        one, two = probabilities > threshold
        expected = np.where(two, 2, one)
    else:
        expected = np.where(probabilities.max(axis=0) > threshold, probabilities.argmax(axis=0), 0)
    np.testing.assert_array_equal(mask_of(package, image, threshold=threshold), expected)


@given(st.integers(0, 99), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_a_higher_threshold_only_takes_away(seed, one, other):
    low, high = sorted((one, other))
    logits = default_rng(seed).normal(0, 2, (3, 4, 5)).astype(np.float32)
    for card in CARDS.values():
        at_low = decided(logits[: card.outputs], card, Selection(threshold=low))
        at_high = decided(logits[: card.outputs], card, Selection(threshold=high))
        assert not ((at_high > 0) & (at_low == 0)).any()


@given(st.integers(0, 99))
def test_one_half_is_what_two_classes_and_regions_have_anyway(seed):
    logits = default_rng(seed).normal(0, 2, (2, 4, 5)).astype(np.float32)
    for name in ("two", "regions"):
        card = CARDS[name]
        halved = decided(logits, card, Selection(threshold=0.5))
        np.testing.assert_array_equal(halved, labels_of(logits, card.task))


@given(st.integers(0, 99), st.floats(0.01, 0.99))
def test_the_foreground_of_two_classes_may_be_the_unlikelier_one(seed, threshold):
    logits = default_rng(seed).normal(0, 2, (2, 4, 5)).astype(np.float32)
    expected = probabilities_of(logits)[1] > threshold
    found = decided(logits, CARDS["two"], Selection(threshold=threshold))
    np.testing.assert_array_equal(found, expected)


def test_all_files_hold_the_wanted_classes_only(package, image):
    selection = Selection(classes=("nucleus",), threshold=0.6)
    predictor = Predictor(package, selection=selection)
    found = predictor.segment(image, maps=("probabilities",), with_objects=True)
    assert found.channels == ("nucleus",)
    channel = package.card.outputs - 1
    everything = Predictor(package).segment(image, maps=("probabilities",))
    np.testing.assert_array_equal(
        found.maps["probabilities"].array[0], everything.maps["probabilities"].array[channel]
    )
    for name, output in outputs_for(2).items():
        is_dicom = output.media_type == "application/dicom"  # which this image is not
        if output.map in (None, "probabilities") and not is_dicom:
            body = encode_output(found, output, image)
            assert body
            if name in ("json", "csv", "geojson", "rle", "nrrd"):
                assert b"nucleus" in body, name
                assert b"cytoplasm" not in body, name
    assert not found.quality.predicted_dice


def test_a_file_that_is_streamed_gets_the_same_mask(package, image, tmp_path):
    write_image(tmp_path / "image.tif", image)
    for rules in (Postprocessing(), Postprocessing(largest_component=("nucleus",))):
        card = package.card.model_copy(update={"postprocessing": rules})
        predictor = Predictor(
            replace(package, card=card), selection=Selection(classes=("nucleus",), threshold=0.6)
        )
        predict_file(predictor, tmp_path / "image.tif", tmp_path / "mask.tif", "tiff")
        expected = predictor.predict(image).array
        assert set(np.unique(expected)) == {0, 2}
        np.testing.assert_array_equal(read_mask(tmp_path / "mask.tif").array, expected)


@pytest.mark.parametrize(
    ("selection", "sentence"),
    [
        (
            Selection(classes=("liver",)),
            "no class 'liver' in this model; it has cytoplasm, nucleus",
        ),
        (Selection(classes=("background",)), "it has cytoplasm, nucleus"),
        (Selection(threshold=1.0), "between 0 and 1, got 1"),
        (Selection(threshold=float("nan")), "between 0 and 1"),
    ],
)
def test_what_cannot_be_selected_is_one_sentence(package, selection, sentence):
    with pytest.raises(ConfigError, match=sentence):
        Predictor(package, selection=selection)
