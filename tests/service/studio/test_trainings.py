"""What is learned of drawings answers when somebody agrees, and the one before can come back."""

import json
import shutil
import subprocess
import sys

import numpy as np
import psutil
import pytest
from starlette.testclient import TestClient

from seg.model_package import read_card, write_card
from service.app import create_app
from service.middleware.key_file import new_key, write_keys
from service.models.registry import ModelRegistry
from service.observability.metrics import Metrics
from service.settings import Settings
from service.studio.training_process import last_words, remove_dead
from service.studio.trainings import Trainings
from tests.packages import write_package
from tests.service.conftest import started, until
from tests.service.studio.conftest import SIZE, named, put


@pytest.fixture
def models(tmp_path):
    """A folder of models with one."""
    write_package(tmp_path / "models" / "first")
    return tmp_path / "models"


@pytest.fixture
def trained(folder, models):
    """A client of a studio that offers trainings."""
    settings = {"models": models, "studio": folder, "models_poll_s": 60, "train_minutes": 5}
    with (
        started(provider="cpu", **settings) as registry,
        TestClient(create_app(registry)) as client,
    ):
        yield client


def propose(folder, models, version):
    """What ``training.improve`` leaves where it is better."""
    proposed = folder / ".studio" / "proposal"
    shutil.copytree(models / "first", proposed / "run" / "package")
    card = read_card(proposed / "run" / "package")
    update = {"name": "a dataset", "version": version}
    write_card(proposed / "run" / "package", card.model_copy(update=update))
    told = {"name": card.name, "before": "nearest-level:1", "package": "run/package"}
    told |= {"decision": "better", "says": "it is better", "after": "x", "cases": 4}
    (proposed / "proposal.json").write_text(json.dumps(told))
    (proposed / "report.md").write_text("# both\n")


def answering(client):
    (model,) = client.get("/models").json()["models"]
    return model["latest"]


def test_a_proposal_answers_when_somebody_agrees_and_goes_back(trained, folder, models):
    assert trained.get("/studio/proposal").status_code == 404
    propose(folder, models, "20")
    assert answering(trained) == "1", "nothing answers before somebody agrees"
    told = trained.get("/studio/train").json()["proposal"]
    assert told["says"] == "it is better"
    assert trained.get("/studio/proposal/report").text == "# both\n"
    assert trained.post("/studio/proposal", json={"accept": True}).json()["answers"].endswith(":20")
    assert answering(trained) == "20"
    assert trained.post("/models/nearest-level/rollback").status_code == 200
    assert answering(trained) == "1"
    propose(folder, models, "30")
    trained.post("/studio/proposal", json={"accept": True})
    assert answering(trained) == "30", "though somebody went back before"
    propose(folder, models, "40")
    trained.post("/studio/proposal", json={"accept": False})
    assert answering(trained) == "30"
    assert trained.get("/studio/proposal").status_code == 404


def test_one_training_runs_at_a_time_and_one_that_is_stopped_leaves_nothing(trained, folder):
    named(trained, "cytoplasm", "nucleus", objects=False)
    refused = trained.post("/studio/train", json={"steps": 2})
    assert refused.status_code == 409
    assert refused.json()["detail"].startswith("nothing is done yet")
    assert trained.get("/studio/train").json()["training"] is None
    assert put(trained, "a", np.zeros(SIZE), state="done").status_code == 200
    refused = trained.post("/studio/train", json={"steps": 2})
    assert refused.status_code == 409
    assert refused.json()["detail"].startswith("one image is done")
    assert put(trained, "b", np.zeros(SIZE), state="done").status_code == 200
    order = trained.post("/studio/train", json={"minutes": 6})
    assert "may take 5 minutes" in order.json()["detail"]
    assert trained.post("/studio/train", json={"step": 2}).status_code == 422
    assert trained.post("/studio/train", json={"steps": 2}).status_code == 202
    assert trained.post("/studio/train", json={"steps": 2}).status_code == 429
    stopped = trained.delete("/studio/train").json()
    assert stopped["status"] == "STOPPED"
    assert stopped["details"][-1].startswith("stopped; nothing came of it")
    until(lambda: not any((folder / ".studio" / "training").iterdir()))
    assert answering(trained) == "1"


def test_what_a_command_said_last_names_no_folder_of_the_service(tmp_path):
    studio, model = tmp_path / "a", tmp_path / "a" / "models" / "m"
    said = f"2026\ntraining.fit: error: {studio}/masks/x.tif of {model} is damaged\n"
    for words in (said, said.replace("training.fit: ", "")):
        told = last_words(words, "training.fit", {studio: "the folder", model: "the model m:1"})
        assert told == "the folder/masks/x.tif of the model m:1 is damaged"


def test_a_training_that_takes_more_memory_than_it_may_is_ended(folder, models):
    settings = {"models": models, "studio": folder, "train_minutes": 5, "max_train_mb": 20}
    with started(provider="cpu", **settings) as registry:
        trainings = Trainings.offered(registry)
        (folder / "masks").mkdir()
        for name in ("a.tif", "b.tif"):
            shutil.copy(folder / "images" / name, folder / "masks")
        task = trainings.start(None, {}, steps=2)
        until(lambda: task.status != "RUNNING")
    assert task.status == "ERROR"
    assert "more memory than the 20 MB" in task.details[-1]


def test_only_who_may_promote_orders_a_training_that_promotes_by_itself(folder, models, tmp_path):
    keys = {scope: new_key(scope, ["train", scope]) for scope in ("annotate", "promote")}
    write_keys(tmp_path / "keys.json", [key for key, _ in keys.values()])
    guarded = {"keys": "required", "keys_file": tmp_path / "keys.json", "train_minutes": 5}
    with started(models=models, studio=folder, provider="cpu", **guarded) as registry:
        client = TestClient(create_app(registry, guarded=True))

        def ask(scope, method, **order):
            headers = {"Authorization": f"Bearer {keys[scope][1]}"}
            return client.request(method, "/studio/train", headers=headers, **order)

        refused = ask("annotate", "POST", json={"promote": True})
        assert refused.status_code == 403
        assert "lacks the scope promote" in refused.json()["detail"]
        assert ask("promote", "POST", json={"promote": True}).status_code != 403
        ask("promote", "DELETE")


def test_a_studio_without_models_says_what_offers_a_training(studio):
    assert studio.get("/studio/train").json()["offered"] is False
    assert "SEG_TRAIN_MINUTES" in studio.post("/studio/train").json()["detail"]


def test_a_service_of_one_package_says_what_is_missing(models, folder):
    registry = ModelRegistry(Settings(package=models / "first"), Metrics())
    with pytest.raises(Exception, match="SEG_MODELS=DIR"):
        Trainings(registry, folder, 1).start(None, {})


def test_a_training_that_writes_more_than_it_may_is_ended(folder, models, monkeypatch):
    """A picture of zeros has a few bytes, what a network is trained on has four a pixel."""
    settings = Settings(
        models=models, studio=folder, provider="cpu", train_minutes=5, max_train_disk_mb=0.001
    )
    trainings = Trainings.offered(ModelRegistry(settings, Metrics()))
    monkeypatch.setattr("service.studio.trainings.LOOK_S", 0.05)
    sleeping = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    (folder / "case.npy").write_bytes(bytes(5000))
    with pytest.raises(Exception, match=r"more disk than the 0 MB .* SEG_MAX_TRAIN_DISK_MB"):
        trainings._status(sleeping, folder)
    assert sleeping.returncode is not None


SERVICE = """
import subprocess, sys, os, threading
from pathlib import Path
from service.studio import training_process
with training_process.training_folder(Path(sys.argv[1]), "task"):
    module = [training_process.__name__, str(os.getpid()), "http.server", "0"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, "-m", *module], **quiet)
    print(process.pid, flush=True)
    process.wait()
"""
"""A service that trains, as little of it as there may be."""


@pytest.mark.skipif(sys.platform != "linux", reason="no other system ends it")
def test_a_training_ends_with_a_service_that_is_killed_and_its_folder_goes(folder, models):
    root = folder / ".studio" / "training"
    command = [sys.executable, "-c", SERVICE, str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        training = psutil.Process(int(service.stdout.readline()))
        remove_dead(root)
        assert (root / "task").is_dir(), "somebody is at it"
        service.kill()
    psutil.wait_procs([training], timeout=60)
    assert not training.is_running()
    settings = Settings(models=models, studio=folder, provider="cpu", train_minutes=5)
    Trainings.offered(ModelRegistry(settings, Metrics()))
    assert not any(root.iterdir())
