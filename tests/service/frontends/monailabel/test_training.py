"""``/train/``: ordered by MONAI Label's own client; what answers afterwards, and what does not."""

from types import SimpleNamespace

import numpy as np
import pytest

from seg.images import Image, Mask, write_image, write_mask
from seg.model_package import read_card, write_card
from service.frontends.monailabel.training import Trainings, TrainingTask, verdict
from service.models.registry import ModelRegistry
from service.observability.metrics import Metrics
from service.settings import Settings
from tests.packages import CLASSES, write_package
from tests.service.conftest import served, until, until_status

LEVELS = (25, 128, 204)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder of models with one, and images with masks that a person drew."""
    folder = tmp_path_factory.mktemp("training")
    write_package(folder / "models" / "first")
    rng = np.random.default_rng(0)
    for number in range(4):
        labels = np.kron(rng.integers(0, 3, (5, 6)), np.ones((8, 8), int)).astype(np.uint8)
        image = Image(np.array(LEVELS, np.uint8)[labels][np.newaxis])
        write_image(folder / "studies" / "images" / f"{number}.tif", image)
        write_mask(folder / "studies" / "masks" / f"{number}.tif", Mask(labels), "tiff", CLASSES)
    return folder


@pytest.fixture
def trained_from(place):
    """A registry of that folder, and what trains."""
    settings = Settings(models=place / "models", provider="cpu", models_poll_s=0.1)
    models = ModelRegistry(settings, Metrics())
    models.start()
    models.wait()
    yield models, Trainings(models, place / "studies", 1)
    models.close()


def test_monai_label_s_client_orders_follows_and_stops_a_training(peer, place, tmp_path):
    settings = {
        "SEG_FRONTENDS": "monailabel",
        "SEG_MODELS": str(place / "models"),
        "SEG_STUDIES": str(place / "studies"),
        "SEG_TRAIN_MINUTES": "5",
        "SEG_SESSIONS": str(tmp_path / "sessions"),
    }
    log = tmp_path / "log.txt"
    with served(place / "models" / "first", log, SEG_PROVIDER="cpu", **settings) as front:
        until_status(front, "/readyz", 200)
        client = peer.MONAILabelClient(str(front.base_url), tmpdir=str(tmp_path))
        (model,) = client.info()["trainers"]
        assert not client.train_status(check_if_running=True)
        task = client.train_start(model, {})
        assert task["status"] == "RUNNING"
        assert client.train_status(check_if_running=True)
        assert front.post(f"/train/{model}", json={}).status_code == 429
        assert front.post("/train/", content=b"[]").status_code == 422
        client.train_stop()
        until(lambda: front.get("/train/").json()["status"] == "STOPPED")
        assert not client.train_status(check_if_running=True)
        until(lambda: not list((place / "studies" / ".monailabel" / "training").iterdir()))
        assert len(front.get("/models").json()["models"][0]["versions"]) == 1


def compared(*pairs):
    """What ``training.compare`` says of classes: their Dice before and after, and the interval."""
    dice = [
        {"measure": "dice", "mean_a": before, "mean_b": after, "difference": {"ci95": interval}}
        for before, after, interval in pairs
    ]
    surface = {"measure": "surface", "mean_a": 1.0, "mean_b": 0.0, "difference": {"ci95": [-2, -1]}}
    return {"cases": ["a", "b"], "differences": [*dice, surface]}


def test_only_one_that_is_better_on_held_back_images_is():
    assert verdict(compared((0.8, 0.82, [-0.1, 0.2]), (0.7, 0.7, [-0.1, 0.1])))[0]
    is_better, figures = verdict(compared((0.8, 0.8, [0, 0]), (0.7, 0.7, [0, 0])))
    assert not is_better
    assert figures == "mean Dice 0.750 before, 0.750 after, on 2 held-back images"
    beyond_doubt = compared((0.7, 0.9, [0.1, 0.3]), (0.8, 0.7, [-0.2, -0.1]))
    assert not verdict(beyond_doubt)[0]
    assert not verdict({"cases": [], "differences": []})[0]


def test_a_better_package_answers_under_the_name_of_the_one_before(trained_from, place, tmp_path):
    models, trainings = trained_from
    before = models.choose()
    package = write_package(tmp_path / "package")
    card = read_card(package)
    write_card(package, card.model_copy(update={"name": "a dataset", "version": "99991231.000000"}))
    version = trainings._taken(TrainingTask(before, {}), package)
    assert version.card.name == before.card.name
    assert models.choose().label == version.label != before.label
    assert not list((place / "models").glob(".arriving-*"))


def test_a_service_of_one_package_says_what_is_missing(place):
    models = SimpleNamespace(settings=Settings(package=place / "models" / "first"))
    with pytest.raises(Exception, match="SEG_MODELS=DIR"):
        Trainings(models, place / "studies", 1).start(None, {})
