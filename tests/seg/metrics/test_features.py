import math

import numpy as np
import pytest
from numpy.random import default_rng

from seg.metrics import FeatureStatistics


def image(rng, shift=0.0, patches=6):
    return (rng.normal(size=(patches, 40)) * np.linspace(0.1, 9, 40) + shift).astype(np.float32)


@pytest.fixture
def statistics():
    rng = default_rng(0)
    return FeatureStatistics.of("full.onnx", [image(rng) for _ in range(8)], allowance=1.5)


def test_an_image_like_the_others_is_no_stranger_than_they_are(statistics):
    found = [statistics.strangeness(image(default_rng(seed))) for seed in range(1, 40)]
    assert np.median(found) == pytest.approx(1, abs=0.1)
    assert np.mean(np.array(found) > statistics.largest) <= 0.05


def test_the_farther_the_features_lie_the_stranger_is_the_image(statistics):
    found = [statistics.strangeness(image(default_rng(1), shift)) for shift in (0, 5, 20)]
    assert found == sorted(found)
    assert found[-1] > statistics.largest


def test_strangeness_is_in_multiples_of_the_usual_distance(statistics):
    features = image(default_rng(1), 5)
    twice = statistics.model_copy(update={"usual": 2 * statistics.usual})
    assert twice.strangeness(features) == pytest.approx(statistics.strangeness(features) / 2)


def test_statistics_are_a_few_kilobytes_and_read_back_the_same(statistics):
    text = statistics.model_dump_json()
    assert len(text) < 8000
    again = FeatureStatistics.model_validate_json(text)
    features = image(default_rng(3))
    assert again.strangeness(features) == statistics.strangeness(features)


def test_features_of_another_network_tell_nothing(statistics):
    assert math.isnan(statistics.strangeness(np.zeros((2, 7), np.float32)))
    assert math.isnan(statistics.strangeness(np.zeros((0, 40), np.float32)))
