"""Models with versions: in this process where time would matter, and on a server that runs."""

import os
import shutil

import anyio
import numpy as np
import pytest
from starlette.testclient import TestClient

from seg.model_package import GoldenSamples, ModelPackage, write_card, write_golden
from service.app import create_app
from service.models.registry import ModelRegistry
from service.models.versions import natural
from service.observability.metrics import Metrics
from service.settings import Settings
from tests.service.conftest import png, serving, until
from tests.service.routes.test_errors import problem

IMAGE = png([[100] * 40] * 40)


def add(folder, package, version, name="cells", *, broken=False):
    """Put a copy of a package into a folder, whole at once."""
    target = folder / f"{name}-{version}"
    staging = folder / f".{target.name}"
    shutil.copytree(package, staging)
    card = ModelPackage.load(staging).card.model_copy(update={"name": name, "version": version})
    if broken:
        golden = ModelPackage.load(staging).golden()
        wrong = GoldenSamples(golden.patches, np.roll(golden.logits, 1, axis=1))
        card = card.model_copy(update={"golden_sha256": write_golden(staging, wrong)})
    write_card(staging, card)
    staging.rename(target)
    return target


@pytest.fixture
def started(tmp_path):
    """Starts a registry over a folder of models."""
    running = []

    def start(**settings) -> ModelRegistry:
        values = {"models": tmp_path, "models_poll_s": 0.02, **settings}
        registry = ModelRegistry(Settings(**values), Metrics())
        running.append(registry)
        registry.start()
        registry.wait()
        return registry

    yield start
    for registry in running:
        registry.close()


def answered_by(client, **params) -> str:
    answer = client.post("/segment", params=params, content=IMAGE)
    assert answer.status_code == 200, answer.text
    return answer.headers["X-Segmentation-Model"]


def test_versions_sort_as_people_do():
    long = "9" * 5000  # more digits than Python makes a number of
    shuffled = ["2", "1.10", long, "20260102.000000", "01.2", "20260101.120000", "1.09"]
    in_order = ["01.2", "1.09", "1.10", "2", "20260101.120000", "20260102.000000", long]
    assert sorted(shuffled, key=natural) == in_order


def test_a_request_chooses_a_model_and_a_version(started, tmp_path, tiny_package):
    for name, version in (("cells", "1.9"), ("cells", "1.10"), ("lungs", "1")):
        add(tmp_path, tiny_package, version, name)
    client = TestClient(create_app(started()))
    assert answered_by(client, model="cells") == "cells:1.10"
    assert answered_by(client, model="cells:latest") == "cells:1.10"
    assert answered_by(client, model="cells:1.9") == "cells:1.9"
    assert answered_by(client, model="lungs") == "lungs:1"
    assert "cells, lungs" in problem(client.post("/segment", content=IMAGE), 422)
    assert "cells, lungs" in problem(client.post("/segment?model=x", content=IMAGE), 404)
    assert "1.10, 1.9" in problem(client.post("/segment?model=cells:2", content=IMAGE), 404)
    listing = client.get("/models").json()
    assert [(m["name"], m["latest"]) for m in listing["models"]] == [
        ("cells", "1.10"),
        ("lungs", "1"),
    ]
    for entry in client.get("/models/cells").json()["versions"]:
        assert client.get(entry["url"]).json()["version"] == entry["version"]
    assert client.get("/models/cells/versions/latest").json()["version"] == "1.10"
    problem(client.get("/models/x"), 404)
    problem(client.get("/models/cells/versions/7"), 404)
    assert 'route="/models/{name}/versions/{version}"' in client.get("/metrics").text


def test_a_version_may_be_a_moment_and_a_job_of_it_is_done(tmp_path, tiny_package):
    moment = "2026-11-30T12:00"
    add(tmp_path, tiny_package, moment)
    with serving(None, tmp_path, SEG_PACKAGE="", SEG_MODELS=str(tmp_path)) as client:
        (entry,) = client.get("/models").json()["models"]
        assert client.get(entry["versions"][0]["url"]).json()["version"] == moment
        label = f"cells:{moment}"
        assert client.post("/segment", params={"model": label}, content=IMAGE).status_code == 200
        job = client.post("/jobs", content=IMAGE).json()
        assert job["model"] == label
        until(lambda: client.get(job["links"]["self"]).json()["state"] == "done")


def test_a_named_default_answers_where_no_model_is_named(started, tmp_path, tiny_package):
    add(tmp_path, tiny_package, "1", "cells")
    add(tmp_path, tiny_package, "1", "lungs")
    client = TestClient(create_app(started(default_model="lungs")))
    assert answered_by(client) == "lungs:1"
    client = TestClient(create_app(started(package=tiny_package)))
    assert answered_by(client) == "nearest-level:1"


def test_a_broken_version_never_goes_live_and_says_why(started, tmp_path, tiny_package):
    add(tmp_path, tiny_package, "1")
    registry = started(provider="cpu")  # auto would not choose one that disagrees
    client = TestClient(create_app(registry))
    add(tmp_path, tiny_package, "2", broken=True)
    until(lambda: [v for v in registry.versions() if v.state == "broken"])
    assert answered_by(client) == "cells:1"
    (entry,) = client.get("/models").json()["models"]
    assert entry["latest"] == "1"
    assert "disagrees" in entry["versions"][0]["reason"]
    assert "disagrees" in problem(client.post("/segment?model=cells:2", content=IMAGE), 503)
    broken = 'seg_model_info{fault="golden",model="cells",state="broken",version="2"} 1.0'
    assert broken in client.get("/metrics").text
    shutil.rmtree(tmp_path / "cells-2")
    add(tmp_path, tiny_package, "2")
    until(lambda: answered_by(client) == "cells:2")


def test_a_card_that_cannot_be_read_is_told_by_its_folder(started, tmp_path, tiny_package):
    add(tmp_path, tiny_package, "1")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "model.json").write_text("{")
    client = TestClient(create_app(started()))
    (unreadable,) = client.get("/models").json()["unreadable"]
    assert unreadable["folder"] == "half"
    assert answered_by(client) == "cells:1"


def test_the_same_version_twice_is_refused_until_the_first_goes(started, tmp_path, tiny_package):
    first = add(tmp_path, tiny_package, "1")
    shutil.copytree(first, tmp_path / "copy")
    registry = started()
    (broken,) = [v for v in registry.versions() if v.state == "broken"]
    assert "is in" in broken.reason
    (serving,) = [v for v in registry.versions() if v.state == "proven"]
    shutil.rmtree(serving.folder)
    until(lambda: [v.state for v in registry.versions()] == ["proven"])


def test_a_version_that_is_removed_gives_way_to_the_one_before(started, tmp_path, tiny_package):
    add(tmp_path, tiny_package, "1")
    newest = add(tmp_path, tiny_package, "2")
    registry = started()
    client = TestClient(create_app(registry))
    assert answered_by(client) == "cells:2"
    shutil.rmtree(newest)
    until(lambda: [(v.card.version, v.state) for v in registry.versions()] == [("1", "proven")])
    assert answered_by(client) == "cells:1"


def test_a_package_replaced_in_place_serves_on_until_its_successor_is_proven(
    started, tmp_path, tiny_package
):
    folder = add(tmp_path, tiny_package, "1")
    registry = started()
    client = TestClient(create_app(registry))
    (folder / "network.onnx").write_bytes(b"not a network")
    os.utime(folder / "model.json")
    until(lambda: len(registry.versions()) == 2)
    until(lambda: [v for v in registry.versions() if v.state == "broken"])
    assert answered_by(client) == "cells:1"
    shutil.copy(tiny_package / "network.onnx", folder)
    until(lambda: [v.state for v in registry.versions()] == ["proven"])
    assert answered_by(client) == "cells:1"


def test_no_more_models_are_in_memory_than_allowed(started, tmp_path, tiny_package):
    for name in "abcd":
        add(tmp_path, tiny_package, "1", name)
    registry = started(max_models=2)
    client = TestClient(create_app(registry))
    for name in "abcdab":
        assert answered_by(client, model=name) == f"{name}:1"
        assert len(registry.memory.models()) <= 2
    assert {v.card.name for v in registry.versions() if v.model} == {"a", "b"}


def test_a_model_in_use_is_not_pushed_out(started, tmp_path, tiny_package):
    for name in "ab":
        add(tmp_path, tiny_package, "1", name)
    registry = started(max_models=1)
    client = TestClient(create_app(registry))
    with registry.memory.leased(registry.choose("a")):
        refused = client.post("/segment?model=b", content=IMAGE)
        assert "in use" in problem(refused, 503)
        assert int(refused.headers["Retry-After"]) >= 1
    assert answered_by(client, model="b") == "b:1"


def test_a_request_in_flight_finishes_on_the_version_that_it_began_with(
    started, tmp_path, tiny_package
):
    folder = add(tmp_path, tiny_package, "1")
    registry = started()
    patches = np.zeros((1, 1, 32, 32), np.float32)

    async def across_the_change() -> None:
        async with registry.memory.lease(registry.choose()) as model:
            add(tmp_path, tiny_package, "2")
            shutil.rmtree(folder)
            while [v.card.version for v in registry.versions()] != ["2"]:
                await anyio.sleep(0.01)
            assert model.infer(patches, model.backend()).shape == (1, 3, 32, 32)

    anyio.run(across_the_change)
    until(lambda: len(registry.memory.models()) == 1)


def test_a_new_version_goes_live_while_a_server_answers(tmp_path, tiny_package):
    models = tmp_path / "models"
    models.mkdir()
    add(models, tiny_package, "1")
    settings = {"SEG_PACKAGE": "", "SEG_MODELS": str(models), "SEG_MODELS_POLL_S": "0.05"}
    with serving(tmp_path, tmp_path, **settings) as client:
        assert answered_by(client) == "cells:1"
        add(models, tiny_package, "2", broken=True)
        add(models, tiny_package, "3")
        seen = []
        until(lambda: seen.append(answered_by(client)) or seen[-1] == "cells:3")
        assert set(seen) <= {"cells:1", "cells:3"}
