"""A package and a stopped run that an earlier version wrote, before its files moved into rooms."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seg.images import read_image
from seg.inference import Predictor
from seg.model_package import ModelPackage
from tests.service.conftest import served, until_status
from training.fit import main

RECORDED = Path(__file__).parent / "training" / "recorded" / "before_rooms"
PICTURE = RECORDED / "blobs" / "images" / "blob_0.png"
BRIGHT = np.asarray(Image.open(PICTURE)) > 110


@pytest.fixture
def package(tmp_path):
    return shutil.copytree(RECORDED / "package", tmp_path / "package")


def agreement(mask):
    return 2 * np.sum((mask > 0) & BRIGHT) / (np.sum(mask > 0) + np.sum(BRIGHT))


def test_an_older_package_is_loaded_and_segments(package):
    predictor = Predictor(ModelPackage.load(package))
    mask = predictor.predict(read_image(PICTURE, dims=2))
    assert agreement(mask.array) > 0.8


def test_an_older_package_is_served(package, tmp_path):
    with served(package, tmp_path / "log") as client:
        until_status(client, "/readyz", 200)
        answer = client.post("/segment?format=png", content=PICTURE.read_bytes())
    assert answer.status_code == 200, answer.text
    with Image.open(io.BytesIO(answer.content)) as mask:
        assert agreement(np.asarray(mask)) > 0.8


def test_an_older_run_that_was_stopped_goes_on(tmp_path, monkeypatch):
    shutil.copytree(RECORDED / "blobs", tmp_path / "blobs")
    run = shutil.copytree(RECORDED / "stopped", tmp_path / "stopped")
    monkeypatch.chdir(tmp_path)
    assert main(["--resume", str(run)]) == 0
    assert ModelPackage.load(run / "package").card.classes[1].name == "blob"
