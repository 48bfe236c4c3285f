"""``/train/``: ordered by MONAI Label's own client; it runs, and is stopped."""

import numpy as np
import pytest

from seg.images import Image, Mask, write_image, write_mask
from service.frontends.monailabel.params import training_params
from service.problems.response import Problem
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
        client.train_stop()
        until(lambda: front.get("/train/").json()["status"] == "STOPPED")
        assert not client.train_status(check_if_running=True)
        until(lambda: not list((place / "studies" / ".studio" / "training").iterdir()))
        assert len(front.get("/models").json()["models"][0]["versions"]) == 1


@pytest.mark.parametrize(
    "params", ["[]", '{"a": NaN}', '{"a": 1e999}', '{"a": "\\ud800"}', "[" * 9999, "{}}"]
)
def test_parameters_that_cannot_be_told_again_order_no_training(params):
    with pytest.raises(Problem, match="JSON object"):
        training_params(params.encode())
