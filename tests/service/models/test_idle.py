"""A model that nobody asks gives memory back; labels that are taken where the network runs."""

import numpy as np
import pytest
from starlette.testclient import TestClient

from seg.inference import OnnxBackend
from service.app import create_app
from service.models.registry import ModelRegistry
from service.observability.metrics import Metrics
from service.settings import Settings
from tests.service.conftest import png, until

IMAGE = png(np.random.default_rng(0).integers(0, 255, (30, 31), dtype=np.uint8).tolist())


@pytest.fixture
def client_of(tiny_package):
    running = []

    def start(**settings):
        models = ModelRegistry(
            Settings(package=tiny_package, provider="cpu", **settings), Metrics()
        )
        running.append(models)
        models.start()
        models.wait()
        return TestClient(create_app(models))

    yield start
    for models in running:
        models.close()


def test_an_idle_model_gives_memory_back_once_and_stays_ready(client_of, monkeypatch):
    shrunk, asked = [], []
    shrink, run = OnnxBackend.shrink, OnnxBackend.run
    monkeypatch.setattr(OnnxBackend, "shrink", lambda self: (shrunk.append(1), shrink(self)))
    monkeypatch.setattr(OnnxBackend, "run", lambda self, x: (asked.append(1), run(self, x))[1])
    client = client_of(idle_s=0.1)
    until(lambda: shrunk)
    asked.clear()
    assert client.get("/readyz").status_code == 200
    assert len(shrunk) == 1
    for turn in (2, 3):
        assert client.post("/segment", content=IMAGE).status_code == 200
        until(lambda turn=turn: len(shrunk) == turn)
    assert asked  # it answered by itself, with what was given back


def test_a_model_that_is_asked_keeps_its_memory(client_of, monkeypatch):
    shrunk = []
    monkeypatch.setattr(OnnxBackend, "shrink", shrunk.append)
    client = client_of(idle_s=60)
    assert client.post("/segment", content=IMAGE).status_code == 200
    assert not shrunk


@pytest.mark.parametrize("batching", ["cpu", "gpu"])
def test_answers_are_the_same_where_labels_are_taken_on_the_device(
    client_of, monkeypatch, batching
):
    expected = client_of(batching=batching).post("/segment", content=IMAGE)
    decided, decide, opened = [], OnnxBackend.decide, OnnxBackend.__init__
    monkeypatch.setattr(
        OnnxBackend, "__init__", lambda *of, **more: opened(*of, **more, decides=True)
    )

    def watched(self, *arguments):
        decided.append(arguments)
        return decide(self, *arguments)

    monkeypatch.setattr(OnnxBackend, "decide", watched)
    client = client_of(batching=batching)
    decided.clear()
    found = client.post("/segment", content=IMAGE)
    assert found.content == expected.content
    assert len(decided) == 1
