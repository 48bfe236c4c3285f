"""A device that dies while its process lives on."""

import math
import threading

import numpy as np
import pytest
from starlette.testclient import TestClient

import service.models.health as health_module
from seg.errors import BackendError
from seg.inference import OnnxBackend
from seg.model_package import ModelPackage
from service.app import create_app
from service.models.health import (
    ERRORS_IN_A_ROW,
    LONGEST_ANSWER_S,
    WRONG_ANSWERS,
    DeviceHealth,
    WatchedBackend,
)
from service.models.registry import ModelRegistry
from service.observability.metrics import Metrics
from service.settings import Settings
from tests.service.conftest import png, until
from tests.service.jobs.queued import queue_of
from tests.service.routes.test_errors import problem

IMAGE = png([[100] * 40] * 40)
DEAD = "the network failed on a batch of patches: CUDA failure 719: unspecified launch failure"


@pytest.fixture
def device(monkeypatch):
    """Says whether the networks of this process may compute."""
    device = {"is_dead": False}
    run = OnnxBackend.run

    def maybe(self, patches):
        if device["is_dead"]:
            raise BackendError(DEAD)
        return run(self, patches)

    monkeypatch.setattr(OnnxBackend, "run", maybe)
    monkeypatch.setattr(health_module, "PAUSE_S", 0.01)
    monkeypatch.setattr(
        DeviceHealth.__init__, "__defaults__", (0.01, health_module.monotonic, math.inf)
    )
    return device


@pytest.fixture
def client(device, tiny_package):
    models = ModelRegistry(Settings(package=tiny_package, provider="cpu"), Metrics())
    models.start()
    models.wait()
    yield TestClient(create_app(models), raise_server_exceptions=False)
    models.close()


def test_a_dead_device_is_unready_and_then_not_alive(client, device):
    device["is_dead"] = True
    for _ in range(ERRORS_IN_A_ROW):
        assert client.post("/segment", content=IMAGE).status_code == 500
    until(lambda: client.get("/readyz").status_code == 503)
    assert "unspecified launch failure" in problem(client.get("/readyz"), 503)
    assert "seg_ready 0.0" in client.get("/metrics").text
    until(lambda: client.get("/livez").status_code == 503)
    assert "fails on a golden sample" in problem(client.get("/livez"), 503)


def test_a_device_that_comes_back_is_ready_again(client, device):
    device["is_dead"] = True
    for _ in range(ERRORS_IN_A_ROW):
        client.post("/segment", content=IMAGE)
    until(lambda: client.get("/readyz").status_code == 503)
    device["is_dead"] = False
    until(lambda: client.get("/readyz").status_code == 200)
    assert client.get("/livez").status_code == 200
    assert client.post("/segment", content=IMAGE).status_code == 200


def test_jobs_on_a_device_that_died_wait_for_one_that_computes(device, tiny_package, tmp_path):
    with queue_of(tiny_package, tmp_path) as queue:
        jobs, models, job = queue.jobs, queue.models, queue.enqueued(IMAGE)
        held = queue.claimed()
        device["is_dead"] = True
        with pytest.raises(BackendError):
            jobs.runner._run_with_model(held)
        assert (jobs.store.get(job).state, jobs.store.get(job).attempts) == ("queued", 0)
        until(lambda: models.able() == [])  # nothing is begun on it
        device["is_dead"] = False
        until(models.able)
        jobs.runner._run_with_model(queue.claimed())
        assert (jobs.store.get(job).state, jobs.store.get(job).attempts) == ("done", 1)


def test_fewer_errors_in_a_row_are_no_suspicion():
    asked = []
    health = DeviceHealth(lambda: asked.append(1))
    for _ in range(5):
        for _ in range(ERRORS_IN_A_ROW - 1):
            health.failed(BackendError("one image"))
        health.worked()
    assert not asked
    assert health.reason is None


def test_images_that_break_the_network_leave_a_device_ready_that_knows_its_golden_sample():
    asked = threading.Event()
    health = DeviceHealth(asked.set)
    for _ in range(ERRORS_IN_A_ROW):
        health.failed(BackendError("a poisoned image"))
    assert asked.wait(10)
    assert health.reason is None
    assert not health.is_dead


def test_it_is_dead_after_some_wrong_answers_and_not_before():
    answers = []

    def prove():
        answers.append(health.is_dead)
        raise BackendError("wrong")

    health = DeviceHealth(prove, pause_s=0.0)
    for _ in range(ERRORS_IN_A_ROW):
        health.failed(BackendError("no answer"))
    until(lambda: len(answers) > WRONG_ANSWERS)
    health.close()
    assert answers[: WRONG_ANSWERS + 1] == [*[False] * WRONG_ANSWERS, True]


def test_a_golden_sample_that_is_never_answered_counts_as_wrong():
    now, hangs = [0.0], threading.Event()
    health = DeviceHealth(lambda: hangs.wait(60), clock=lambda: now[0])
    for _ in range(ERRORS_IN_A_ROW):
        health.failed(BackendError("no answer"))
    until(lambda: health._asked_at is not None)
    now[0] = health_module.LONGEST_ANSWER_S + 1
    assert "has not answered a golden sample for 61 s" in health.reason
    assert not health.is_dead
    now[0] = WRONG_ANSWERS * health_module.LONGEST_ANSWER_S + 1
    assert health.is_dead
    hangs.set()


def test_a_watched_backend_is_the_backend(tiny_package):
    backend = OnnxBackend(ModelPackage.load(tiny_package).model_file(), provider="cpu", threads=1)
    watched = WatchedBackend(backend, DeviceHealth(lambda: None))
    patch = np.zeros((1, 1, 32, 32), np.float32)
    np.testing.assert_array_equal(watched.run(patch), backend.run(patch))
    assert (watched.patch, watched.provider) == (backend.patch, backend.provider)
    assert (watched.callers, watched.batch_size) == (backend.callers, backend.batch_size)


def test_a_run_that_never_ends_makes_a_device_unready_and_then_dead(tiny_package):
    """A network whose loop an image drives on for ever, or a driver that hangs, raises nothing."""
    now, seen = [0.0], []
    health = DeviceHealth(lambda: None, clock=lambda: now[0], longest_run_s=100)

    class Hanging(OnnxBackend):
        def run(self, patches):
            for now[0] in (99, 101, 100 + WRONG_ANSWERS * LONGEST_ANSWER_S + 1):
                seen.append((health.reason, health.is_dead))
            return super().run(patches)

    file = ModelPackage.load(tiny_package).model_file()
    backend = WatchedBackend(Hanging(file, provider="cpu"), health)
    backend.run(np.zeros((1, 1, *backend.patch), np.float32))
    late = "a run of the network has not ended for"
    assert seen == [(None, False), (f"{late} 101 s", False), (f"{late} 281 s", True)]
    assert (health.reason, health.is_dead) == (None, False)
