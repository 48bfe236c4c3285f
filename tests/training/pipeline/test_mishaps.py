"""What goes wrong ends in one sentence and costs nothing that was there before."""

import errno
import json
import shutil

import numpy as np
import pytest
import tifffile
import torch

from data.phantom import draw
from seg.errors import BackendError, ConfigError
from seg.model_package import ModelPackage
from training import export
from training.fit import main
from training.learning.callbacks import CHECKPOINT_FILE, WholeCheckpoints
from training.learning.losses import SegmentationLoss
from training.packaging import writer
from training.pipeline.demonstration import demonstrate

SMALL = [
    *("--patch", "16", "16", "--batch-size", "2", "--precision", "float32"),
    *("--network", "resunet-xs", "--checkpoint-seconds", "0"),
]


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("data") / "phantom", cases=3, size=(48, 64))


@pytest.fixture(scope="module")
def finished(phantom, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    assert main([str(phantom), "--out", str(folder), "--steps", "4", *SMALL]) == 0
    return folder


def sentences(caplog):
    return [record.message for record in caplog.records if record.message.startswith("error: ")]


def test_a_loss_that_is_not_a_number_ends_at_the_last_checkpoint(
    phantom, tmp_path, caplog, monkeypatch
):
    right, calls = SegmentationLoss.forward, []

    def breaks_down(self, logits, labels):
        calls.append(1)
        cost = right(self, logits, labels)
        return cost if len(calls) < 40 else cost * torch.nan

    monkeypatch.setattr(SegmentationLoss, "forward", breaks_down)
    run = tmp_path / "run"
    assert main([str(phantom), "--out", str(run), "--steps", "50", *SMALL]) == 2
    (said,) = sentences(caplog)
    assert "the loss is no longer finite at step" in said
    assert f"go on with: python -m training.fit --resume {run}" in said
    saved = torch.load(run / CHECKPOINT_FILE, weights_only=True)
    assert all(torch.isfinite(weights).all() for weights in saved["state_dict"].values())
    assert saved["global_step"] >= 1


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        pytest.param(0, "has too little memory for a step", id="while planning"),
        pytest.param(10, "the memory is too small for a step", id="while training"),
    ],
)
def test_too_little_memory_ends_in_one_sentence(
    phantom, tmp_path, caplog, monkeypatch, steps, sentence
):
    right, calls = SegmentationLoss.forward, []

    def grows(self, logits, labels):
        calls.append(1)
        return right(self, logits, labels) if len(calls) <= steps else torch.empty(2**60)

    monkeypatch.setattr(SegmentationLoss, "forward", grows)
    command = [str(phantom), "--out", str(tmp_path / "run"), "--steps", "20", *SMALL]
    assert main(command) == 2
    (said,) = sentences(caplog)
    assert sentence in said
    assert "--batch-size" in said


def test_a_full_disk_keeps_the_last_checkpoint_and_the_run_can_go_on(
    phantom, tmp_path, caplog, monkeypatch
):
    whole, written = WholeCheckpoints.save_checkpoint, []

    def until_full(self, checkpoint, path, storage_options=None):
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        written.append(path)
        whole(self, checkpoint, path, storage_options)

    monkeypatch.setattr(WholeCheckpoints, "save_checkpoint", until_full)
    run = tmp_path / "run"
    assert main([str(phantom), "--out", str(run), "--steps", "4", *SMALL]) == 2
    (said,) = sentences(caplog)
    assert "No space left on device" in said
    assert "--resume" in said
    assert torch.load(run / CHECKPOINT_FILE, weights_only=True)["global_step"] == 2
    monkeypatch.undo()
    assert main(["--resume", str(run)]) == 0
    assert torch.load(run / CHECKPOINT_FILE, weights_only=True)["global_step"] == 4


def test_an_export_that_is_interrupted_leaves_the_older_package(finished, tmp_path, monkeypatch):
    target = tmp_path / "package"
    shutil.copytree(finished / "package", target)
    before = {path.name: path.read_bytes() for path in target.iterdir()}

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(writer, "proven", interrupted)
    run = shutil.copytree(finished, tmp_path / "run")
    (run / "report.html").unlink()
    shutil.rmtree(run / "package")
    shutil.copytree(target, run / "package")
    assert main(["--resume", str(run)]) == 130
    assert {path.name: path.read_bytes() for path in (run / "package").iterdir()} == before
    assert not [path for path in run.iterdir() if path.name.startswith(".package")]
    monkeypatch.undo()
    assert main(["--resume", str(run)]) == 0
    assert ModelPackage.load(run / "package").card.classes


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        pytest.param("fingerprint.json", b"{}", "is no fingerprint", id="numbers"),
        pytest.param("plan.yaml", b"\xff\xfe\0\x80", "is not YAML", id="no text"),
        pytest.param("plan.yaml", b"seed: 0", "seed was 0 and is 7", id="edited plan"),
    ],
)
def test_a_run_whose_files_were_changed_goes_on_with_none_of_them(
    finished, tmp_path, caplog, file, content, sentence
):
    run = shutil.copytree(finished, tmp_path / "run")
    (run / "report.html").unlink()
    if content == b"seed: 0":
        content = (run / file).read_bytes().replace(content, b"seed: 7")
    (run / file).write_bytes(content)
    assert main(["--resume", str(run)]) == 2
    (said,) = sentences(caplog)
    assert sentence in said
    assert not (run / "report.html").exists()


def test_a_demo_removes_no_run_but_its_own(finished, tmp_path):
    (tmp_path / "notes.txt").write_text("of years")
    for folder in (finished, tmp_path):
        before = sorted(folder.rglob("*"))
        with pytest.raises(ConfigError, match="holds what no demo left there; move it away"):
            demonstrate(folder, None, {"steps": 1})
        assert sorted(folder.rglob("*")) == before


def test_a_demo_that_was_stopped_goes_on_with_no_other_data(finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    (run / "report.html").unlink()
    with pytest.raises(ConfigError, match=r"is of .*phantom, not of .*other; name another folder"):
        demonstrate(run, tmp_path / "other", {})


def test_an_export_that_disagrees_writes_nothing(finished, tmp_path, monkeypatch, capsys):
    def disagrees(*_):
        raise BackendError("the exported network disagrees with the trained one")

    monkeypatch.setattr(writer, "proven", disagrees)
    assert export.main([str(finished), "-o", str(tmp_path / "p")]) == 2
    assert "error: the exported network disagrees" in capsys.readouterr().err
    assert not (tmp_path / "p").exists()
    assert ModelPackage.load(finished / "package")


def test_wrong_data_are_named_all_at_once_and_nothing_is_begun(phantom, tmp_path, caplog):
    data = shutil.copytree(phantom, tmp_path / "data")
    images = sorted((data / "imagesTr").iterdir())
    images[0].write_bytes(b"not an image")
    masks = sorted((data / "labelsTr").iterdir())
    masks[-1].write_bytes(b"not a mask")
    run = tmp_path / "run"
    assert main([str(data), "--out", str(run), "--steps", "1", *SMALL]) == 2
    (said,) = sentences(caplog)
    assert images[0].name in said
    assert masks[-1].name in said
    assert not run.exists()


def test_values_that_are_no_numbers_are_found_before_the_training(phantom, tmp_path, caplog):
    data = shutil.copytree(phantom, tmp_path / "data")
    card = json.loads((data / "dataset.json").read_text())
    assert card["file_ending"].startswith(".tif")
    image = sorted((data / "imagesTr").iterdir())[0]
    pixels = tifffile.imread(image).astype(np.float32)
    pixels[3, 4] = np.nan
    tifffile.imwrite(image, pixels)
    assert main([str(data), "--out", str(tmp_path / "run"), "--steps", "1", *SMALL]) == 2
    (said,) = sentences(caplog)
    assert "NaN or infinity" in said
    assert image.name in said
