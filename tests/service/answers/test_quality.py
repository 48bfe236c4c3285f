import json

import numpy as np
import pytest

from seg.images import Mask
from seg.inference import Quality, Segmentation
from seg.metrics import DiceCalibration, SelfAssessment
from seg.model_package import ModelPackage, write_card
from service.answers.quality_header import MOST_HEADER_BYTES, QUALITY_HEADER, as_header
from tests.packages import write_package
from tests.service.conftest import png, serving


@pytest.fixture(scope="module")
def assessed_client(tmp_path_factory):
    """A client of a server whose package knows what to say of its masks."""
    folder = tmp_path_factory.mktemp("assessed")
    package = ModelPackage.load(write_package(folder / "package"))
    dice = {"cytoplasm": DiceCalibration(offset=-1, expected_error=0.04)}
    assessment = SelfAssessment(dice=dice)
    write_card(package.path, package.card.model_copy(update={"quality": assessment}))
    with serving(package.path, folder) as client:
        yield client


def test_a_mask_comes_with_what_the_model_knows_of_it(assessed_client):
    image = png(np.full((40, 60), 128) + np.arange(60))
    mask = assessed_client.post("/segment", content=image)
    quality = json.loads(mask.headers[QUALITY_HEADER])
    assert 0 < quality["predicted_dice"]["cytoplasm"]["dice"] < 1
    assert quality["predicted_dice"]["cytoplasm"]["expected_error"] == 0.04
    assert 0 < quality["uncertainty"] < 1
    assert quality["warnings"] == []
    summary = assessed_client.post("/segment", params={"format": "json"}, content=image).json()
    assert summary["quality"] == quality
    assert summary["size"] == [40, 60]


def test_an_image_unlike_the_training_is_warned_of(assessed_client):
    answer = assessed_client.post("/segment", content=png(np.arange(100).reshape(5, 20)))
    (warning,) = json.loads(answer.headers[QUALITY_HEADER])["warnings"]
    assert "5 pixels along y" in warning


def said(quality: Quality) -> Segmentation:
    return Segmentation(Mask(np.zeros((1, 1), np.uint8)), quality)


def test_a_header_is_ascii_and_of_a_size_that_proxies_take():
    quality = Quality(predicted_dice={"Größe": 0.9}, warnings=("naïve\nline",))
    assert as_header(said(quality)).isascii()
    assert as_header(said(quality)).isprintable()
    many = Quality(predicted_dice={f"vertebra {n}": 0.9 for n in range(200)}, uncertainty=0.1)
    found = as_header(said(many))
    assert len(found) < MOST_HEADER_BYTES
    assert json.loads(found)["see"] == "?format=json"
    assert json.loads(found)["uncertainty"] == 0.1
