"""The whole way on a drawn dataset, small enough for a test."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from data.phantom import draw
from seg.images import read_channels, read_mask
from seg.inference import Predictor
from seg.model_package import ModelPackage
from tests.signals import sent_as_soon_as
from training.fit import main
from training.learning.callbacks import CHECKPOINT_FILE

SMALL = [
    *("--network", "resunet-xs", "--patch", "16", "16", "--batch-size", "2"),
    *("--precision", "float32"),
]


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("data") / "phantom", cases=4, size=(64, 80))


@pytest.fixture(scope="module")
def run(phantom, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    assert main([str(phantom), "--out", str(folder), "--steps", "12", *SMALL]) == 0
    return folder


def test_a_run_leaves_what_others_script_against(run):
    left = {path.name for path in run.iterdir()}
    assert {"package", "report.html", "plan.yaml", "metrics.json"} <= left
    metrics = json.loads((run / "metrics.json").read_text())
    assert {"cases", "summary"} <= set(metrics)
    for name in ("cytoplasm", "nucleus"):
        low, high = metrics["summary"][name]["ci95"]
        assert 0 <= low <= metrics["summary"][name]["dice"] <= high <= 1


def test_the_report_s_masks_are_the_predictor_s(run, phantom):
    predictor = Predictor(ModelPackage.load(run / "package"))
    stored = sorted((run / "predictions").iterdir())
    assert stored
    for path in stored:
        channels = sorted((phantom / "imagesTs").glob(f"{path.stem}_*"))
        expected = predictor.predict(read_channels(channels, dims=2))
        np.testing.assert_array_equal(read_mask(path).array, expected.array)


def test_a_finished_run_is_not_overwritten(run, phantom, capsys, caplog):
    assert main([str(phantom), "--out", str(run), "--steps", "1"]) == 2
    assert "is not empty; name another folder" in caplog.text


def test_a_killed_run_goes_on_and_ends_like_one_that_was_not(run, phantom, tmp_path):
    killed = tmp_path / "killed"
    command = [sys.executable, "-m", "training.fit", str(phantom), "--out", str(killed)]
    process = subprocess.Popen(
        [*command, "--steps", "12", "--checkpoint-seconds", "0", *SMALL],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    until = time.monotonic() + 120
    while not (killed / CHECKPOINT_FILE).exists() and time.monotonic() < until:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (killed / "package").exists()

    assert main(["--resume", str(killed)]) == 0
    ours, theirs = (
        torch.load(folder / CHECKPOINT_FILE, weights_only=True)["state_dict"]
        for folder in (killed, run)
    )
    for name, weights in ours.items():
        assert torch.equal(weights, theirs[name]), name


def test_a_run_that_was_killed_after_its_last_step_is_packaged(run, tmp_path):
    killed = shutil.copytree(run, tmp_path / "killed")
    shutil.rmtree(killed / "package")
    (killed / "report.html").unlink()
    for half in (".package.abcdefgh", ".cache.abcdefgh", ".cache.old.abcdefgh"):
        (killed / half / "case").mkdir(parents=True)
    assert main(["--resume", str(killed)]) == 0
    assert [path.name for path in killed.glob(".*.*")] == []
    ours, theirs = (ModelPackage.load(folder / "package").golden() for folder in (killed, run))
    np.testing.assert_array_equal(ours.logits, theirs.logits)


def test_minutes_are_honoured(phantom, tmp_path):
    started = time.monotonic()
    assert main([str(phantom), "--out", str(tmp_path / "r"), "--minutes", "0.1", *SMALL]) == 0
    logged = (tmp_path / "r" / "checkpoint.ckpt").stat().st_mtime - time.time() + time.monotonic()
    assert logged - started < 20


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param(["nowhere"], "no folder nowhere", id="no such folder"),
        pytest.param(["--resume", "nowhere"], "holds no run", id="nothing to resume"),
        pytest.param(
            ["data", "--resume", "run", "--seed", "3", "--minutes", "4"],
            "leave out data --seed 3, or begin another run",
            id="another plan for a run that goes on",
        ),
    ],
)
def test_what_cannot_work_is_one_sentence(arguments, sentence, caplog):
    assert main(arguments) == 2
    assert sentence in caplog.text


@pytest.mark.parametrize("request_to_stop", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_asked_to_stop_says_how_to_go_on(phantom, tmp_path, caplog, request_to_stop):
    run = tmp_path / "run"
    arguments = [str(phantom), "--out", str(run), "--minutes", "5", "--checkpoint-seconds", "0"]
    with sent_as_soon_as((run / CHECKPOINT_FILE).exists, request_to_stop):
        assert main([*arguments, *SMALL]) == 130
    assert f"stopped; go on with: python -m training.fit --resume {run}" in caplog.text
