import json
import os
import signal
import threading
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from numpy.random import default_rng

from seg import cuda_driver
from seg.cuda_driver import cuda_devices
from seg.images import Image, read_image, read_mask, write_image
from seg.inference import Predictor
from seg.model_package import ModelPackage
from seg.predict.__main__ import main
from seg.predict.asked import CaseWork, PredictionJob
from seg.predict.cases import PredictionCase
from seg.predict.ray_cluster import MOST_DEATHS, _RayWorker, begun_file
from tests.peers import ray_cluster

PATIENCE_S = 120
CASES = 8


def write_cases(folder):
    for number in range(CASES):
        array = default_rng(number).integers(0, 255, (1, 500, 500)).astype(np.uint8)
        write_image(folder / f"c{number}.tif", Image(array))
    return folder


@pytest.fixture(scope="module")
def cluster():
    with ray_cluster():
        yield


def workers_of_this_test():
    """Processes of workers whose grandparent, over the raylet, is this process."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                words = (folder / "cmdline").read_bytes()
                if b"_RayWorker" in words and parent(parent(int(folder.name))) == os.getpid():
                    yield int(folder.name)
            except OSError:
                continue


def parent(process):
    stat = Path(f"/proc/{process}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_worker_that_is_killed_costs_no_case(tiny_package, tmp_path, cluster, capsys):
    images, out = write_cases(tmp_path / "in"), tmp_path / "out"
    killed = []

    def kill_one():
        deadline = time.monotonic() + PATIENCE_S
        while not list(out.glob("*.png")) and time.monotonic() < deadline:
            time.sleep(0.005)
        at_work = list(workers_of_this_test())
        os.kill(at_work[0], signal.SIGKILL)
        killed.append((len(at_work), len(list(out.glob("*.png")))))

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    command = [str(tiny_package), str(images), "--out", str(out), "--ray", "--threads", "1"]
    assert main(command) == 0
    killer.join(PATIENCE_S)
    ((workers, done),) = killed
    assert workers == 2
    assert done < CASES
    assert f"{CASES} segmented" in capsys.readouterr().err
    predictor = Predictor(ModelPackage.load(tiny_package))
    for path in images.iterdir():
        expected = predictor.predict(read_image(path)).array
        np.testing.assert_array_equal(read_mask(out / f"{path.stem}.png").array, expected)
    assert not (out / ".begun").exists()


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_cluster_goes_on_after_a_bad_file_and_skips_what_is_finished(
    tiny_package, tmp_path, cluster, capsys
):
    images, out = write_cases(tmp_path / "in"), tmp_path / "out"
    (images / "bad.png").write_bytes(b"no picture")
    command = [str(tiny_package), str(images), "--out", str(out), "--ray", "--threads", "1"]
    assert main(command) == 1
    assert "failed: bad: " in capsys.readouterr().err
    assert len(list(out.glob("*.png"))) == CASES
    (images / "bad.png").unlink()
    assert main(command) == 0
    assert f"0 segmented, {CASES} were finished before" in capsys.readouterr().err


def test_a_case_that_kills_every_worker_is_given_up(tiny_package, tmp_path):
    (image, *_) = sorted(write_cases(tmp_path / "in").iterdir())
    case = PredictionCase("c0", (image,))
    work = CaseWork(package=tiny_package, out=tmp_path / "out", formats=("png",))
    begun = begun_file(work.out, case)
    begun.parent.mkdir(parents=True)
    worker = _RayWorker(work)
    batch = {"job": np.array([json.dumps(asdict(PredictionJob(case)), default=str)])}
    for deaths, failure in ((MOST_DEATHS - 1, None), (MOST_DEATHS, f"{MOST_DEATHS} workers died")):
        begun.write_bytes(b"." * deaths)
        (outcome,) = map(json.loads, worker(batch)["outcome"])
        assert (outcome["failure"] is None) == (failure is None)
        assert str(outcome["failure"]).startswith(str(failure))


def test_a_worker_takes_the_card_that_ray_lends_it(tiny_package, tmp_path, monkeypatch):
    monkeypatch.setattr(cuda_driver, "cuda_devices", lambda: 1)
    monkeypatch.setenv("SEG_CUDA_DEVICE", "2")
    _RayWorker(CaseWork(package=tiny_package, out=tmp_path, formats=("png",), provider="cpu"))
    assert cuda_driver.chosen_device() == 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_model_is_opened_where_it_runs_and_not_here(
    tiny_package, tmp_path, cluster, monkeypatch, capsys
):
    def nowhere(work):
        raise AssertionError("opened on the driver")

    monkeypatch.setattr("seg.predict.ray_cluster.Worker", nowhere)
    write_image(tmp_path / "in.tif", Image(np.zeros((1, 40, 40), np.uint8)))
    out = tmp_path / "out"
    command = [str(tiny_package), str(tmp_path / "in.tif"), "--out", str(out), "--ray"]
    assert main([*command, "--threads", "1", "--provider", "cpu"]) == 0
    assert (out / "in.png").is_file()
    if not cuda_devices():  # what is wrong there is one sentence here
        assert main([*command, "--threads", "1", "--provider", "cuda", "--overwrite"]) == 2
        assert "CUDA was asked for, but no CUDA device is here" in capsys.readouterr().err
