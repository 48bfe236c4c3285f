import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.random import default_rng

from seg.errors import ConfigError
from seg.images import Image
from seg.inference import EnsembleBackend, MirrorBackend, Predictor
from seg.inference.trust.disagreement import Disagreement, DisagreementBackend, other_networks
from seg.model_package import ModelPackage
from tests.seg.inference.backends.test_combined import Says, patches

logits = arrays(np.float32, (2, 3, 4), elements=st.floats(-50, 50, width=32))


@settings(deadline=None)
@given(st.lists(logits, min_size=1, max_size=4), st.sampled_from(["exclusive", "regions"]))
def test_disagreement_lies_between_0_and_1(voices, task):
    heard = Disagreement(task)
    for voice in voices:
        heard.hear(voice)
    assert ((heard.result() >= 0) & (heard.result() <= 1)).all()


@settings(deadline=None)
@given(logits)
def test_those_who_say_the_same_do_not_disagree(voice):
    heard = Disagreement()
    for _ in range(3):
        heard.hear(voice)
    np.testing.assert_allclose(heard.result(), 0, atol=1e-5)


def test_two_who_are_sure_of_opposites_disagree_fully():
    heard = Disagreement()
    heard.hear(np.array([[[40.0], [-40.0]]], np.float32))
    heard.hear(np.array([[[-40.0], [40.0]]], np.float32))
    np.testing.assert_allclose(heard.result(), 1)


def pair(slope):
    return Says(lambda x: np.concatenate([slope * x, -slope * x], axis=1))


def test_all_members_of_a_mirrored_ensemble_are_heard():
    first, second = pair(1), pair(-1)
    ensemble = MirrorBackend(EnsembleBackend([first, second]))
    x = patches(2, 1, 6, 8)
    found = DisagreementBackend(ensemble).run(x)
    np.testing.assert_allclose(found[:, :2], ensemble.run(x), rtol=1e-5)
    heard = Disagreement()
    for member in (first, second):
        heard.hear(member.run(x))
    np.testing.assert_allclose(found[:, 2], heard.result(), atol=1e-5)


def test_other_voices_are_heard_and_have_no_part_in_the_logits():
    x = patches(1, 1, 6, 8)
    found = DisagreementBackend(pair(1), [pair(-1)]).run(x)
    np.testing.assert_array_equal(found[:, :2], pair(1).run(x))
    assert found[:, 2].max() > 0.1


def test_the_other_networks_of_a_package_are_heard_once_each_in_their_fastest_precision(
    tiny_package,
):
    card = ModelPackage.load(tiny_package).card
    about = {
        "full": {},
        "int8": {"precision": "int8"},
        "drop-1": {"blocks_dropped": ("a",)},
        "drop-1-int8": {"blocks_dropped": ("a",), "precision": "int8"},
        "drop-2": {"blocks_dropped": ("a", "b")},
        "drop-2-float16": {"blocks_dropped": ("a", "b"), "precision": "float16"},
        "small-int8": {"precision": "int8", "distilled": True},
    }
    variants = [card.variant().model_copy(update={"name": n} | d) for n, d in about.items()]
    card = card.model_copy(update={"variants": tuple(variants)})
    assert other_networks(card) == ["drop-1-int8", "drop-2", "small-int8"]


def test_one_network_alone_is_refused(tiny_package):
    predictor = Predictor(ModelPackage.load(tiny_package))
    image = Image(np.zeros((1, 40, 40), np.uint8))
    with pytest.raises(ConfigError, match="several voices"):
        predictor.segment(image, maps=("disagreement",))


def test_disagreement_of_mirrors_is_a_map_on_the_image_s_grid(tiny_package):
    predictor = Predictor(ModelPackage.load(tiny_package), mirror=True)
    image = Image(default_rng(0).integers(0, 255, (1, 50, 40)).astype(np.uint8))
    found = predictor.segment(image, maps=("disagreement",))
    assert found.maps["disagreement"].array.shape == (1, 50, 40)
    np.testing.assert_array_equal(found.mask.array, predictor.predict(image).array)
    assert found.quality.disagreement == pytest.approx(0, abs=1e-3)  # this network sees no sides
