"""What an encoder expects of intensities is planned once, and carried by the package."""

import numpy as np
import pytest

from data.phantom import draw
from seg.model_package import Channel
from seg.networks.foreign.encoders import Intensities
from seg.networks.foreign.own_code import ALLOWED
from tests.training.run.test_plan import STATISTICS, fingerprint
from training.dataset import load_dataset
from training.planning.foreign_networks import check_network, foreign_fields, normalisation_of

IMAGENET = Intensities()


def data(channels, intensities, deviation=40.0):
    statistics = STATISTICS.model_copy(update={"range": intensities, "std": deviation})
    known = fingerprint((64, 64)).model_copy(update={"channels": (statistics,) * channels})
    return tuple(Channel(name=f"c{i}") for i in range(channels)), known


def test_bytes_reach_an_encoder_as_the_pictures_that_it_learnt_from():
    rules = normalisation_of(IMAGENET, *data(3, (0, 255)))
    pixels = np.array([0, 100, 255], np.float32)
    for rule, mean, std in zip(rules, IMAGENET.mean, IMAGENET.std, strict=True):
        assert (rule.kind, rule.low, rule.high) == ("clip_zscore", 0, 255)
        np.testing.assert_allclose(
            (pixels - rule.mean) / rule.std, (pixels / 255 - mean) / std, rtol=1e-5
        )


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_channels_that_are_no_colours_are_grey_to_it(channels):
    rules = normalisation_of(IMAGENET, *data(channels, (0, 255)))
    grey = (pytest.approx(0.449 * 255), pytest.approx(0.226 * 255))
    assert [(rule.mean, rule.std) for rule in rules] == [grey] * channels


@pytest.mark.parametrize("intensities", [(-1000, 1000), (0, 4095), (0, 1)])
def test_what_has_no_white_of_255_keeps_the_planned_normalisation(intensities):
    assert normalisation_of(IMAGENET, *data(3, intensities)) is None


@pytest.mark.parametrize("name", ["resunet-s", None])
def test_presets_take_nothing_over(name):
    assert foreign_fields({"network": name}, None, None) == {}


@pytest.mark.parametrize(("intensities", "deviation"), [((2, 30), 4.0), ((228, 252), 6.0)])
def test_bytes_without_contrast_keep_it_too_since_the_encoder_would_see_one_grey(
    intensities, deviation
):
    assert normalisation_of(IMAGENET, *data(1, intensities, deviation)) is None


@pytest.mark.parametrize(
    ("asked", "is_told"),
    [({"minutes": 0.001}, True), ({"minutes": 1e6}, False), ({"steps": 2}, False)],
)
def test_a_look_at_a_network_that_takes_much_of_the_minutes_is_told(
    asked, is_told, tmp_path, caplog, monkeypatch
):
    (tmp_path / "my_tiny_network.py").write_text(
        "import torch\ndef tiny(in_channels): return torch.nn.Conv2d(in_channels, 3, 1)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    name = "my_tiny_network:tiny"
    monkeypatch.setenv(ALLOWED, name)
    dataset = load_dataset(draw(tmp_path / "phantom", cases=3, size=(32, 32)))
    check_network({"network": name, "instances": "none"} | asked, dataset)
    told = [record.message for record in caplog.records if "of the 0.001 minutes" in record.message]
    assert bool(told) == is_told
