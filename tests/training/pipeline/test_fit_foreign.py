"""From data to masks with networks of other libraries, and with one's own."""

import sys

import pytest
import safetensors.torch
import torch

from data.phantom import draw
from seg.files import sha256_of
from seg.images import read_channels
from seg.inference import Predictor
from seg.model_package import ModelPackage
from seg.networks.foreign.encoders import make
from seg.networks.foreign.own_code import ALLOWED
from tests.service.conftest import labels_of, served, until_status
from training.fit import main
from training.learning.callbacks import CHECKPOINT_FILE
from training.learning.checkpoint import read_checkpoint
from training.plan import main as make_plan
from training.run.plan_yaml import read_plan

SMALL = ["--steps", "2", "--batch-size", "2", "--precision", "float32", "--patch", "64", "64"]
ENCODER = "tu-test_resnet"


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("data") / "phantom", cases=3, size=(64, 64))


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    (tmp_path / "my_tiny_network.py").write_text(
        "from torch import nn\n"
        "def tiny(in_channels):  # made for three classes, and no other number\n"
        "    return nn.Sequential(nn.Conv2d(in_channels, 8, 3, padding=1), nn.ReLU(),"
        " nn.Conv2d(8, 3, 1))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv(ALLOWED, "")
    yield "my_tiny_network:tiny"
    sys.modules.pop("my_tiny_network", None)


def channels_of(phantom):
    channels = sorted((phantom / "imagesTr").iterdir())
    return [path for path in channels if path.name.startswith(channels[0].name[:-9])]


def predicted(package, phantom):
    image = read_channels(channels_of(phantom), dims=2)
    return Predictor(ModelPackage.load(package)).predict(image), image


def labels_over_http(package, phantom, folder):
    files = [("image", (path.name, path.read_bytes())) for path in channels_of(phantom)]
    with served(package, folder / "log.txt", SEG_PROVIDER="cpu") as client:
        until_status(client, "/readyz", 200)
        return labels_of(client.post("/segment?format=png", files=files).content)


def test_a_named_network_is_trained_without_some_blocks_proven_and_predicts(phantom, tmp_path):
    run = tmp_path / "run"
    assert main([str(phantom), "--out", str(run), "--network", ENCODER, "--elastic", *SMALL]) == 0
    plan = read_plan(run / "plan.yaml")
    assert (plan.sandwich_share, plan.stochastic_depth) == (0.3, 0.0)
    mask, image = predicted(run / "package", phantom)
    assert mask.array.shape == image.array.shape[1:]


def test_one_s_own_network_is_run_from_the_command_line_alone(
    own_module, phantom, tmp_path, caplog
):
    run = tmp_path / "run"
    assert main([str(phantom), "--out", str(run), "--network", own_module, *SMALL]) == 0
    assert "its code is run" in caplog.text
    mask, image = predicted(run / "package", phantom)
    assert mask.array.shape == image.array.shape[1:]


def test_a_plan_that_was_sent_runs_no_code(own_module, phantom, tmp_path, caplog):
    plan = tmp_path / "plan.yaml"
    arguments = ["--out", str(plan), "--network", "resunet-xs", *SMALL]
    assert make_plan([str(phantom), *arguments]) == 0
    plan.write_text(plan.read_text().replace("network: resunet-xs", f"network: {own_module}"))
    assert main([str(phantom), "--out", str(tmp_path / "new"), "--plan", str(plan)]) == 2
    assert "run only if you name it" in caplog.text
    assert "my_tiny_network" not in sys.modules
    assert not (tmp_path / "new").exists()


def test_weights_of_a_file_begin_a_gentle_training_in_the_encoder_s_intensities(phantom, tmp_path):
    file = tmp_path / "encoder.safetensors"
    torch.manual_seed(3)
    stored = make(ENCODER, 3).state_dict()
    about = {"source": "a laboratory", "licence": "CC-BY-4.0"}
    safetensors.torch.save_file(stored, file, metadata=about)
    run = tmp_path / "run"
    arguments = ["--network", f"smp:unet/{ENCODER}", "--weights", str(file), *SMALL]
    assert main([str(phantom), "--out", str(run), *arguments, "--frozen-share", "0.9"]) == 0
    plan = read_plan(run / "plan.yaml")
    assert (plan.encoder_rate, plan.frozen_statistics, plan.weights) == (0.1, True, str(file))
    assert plan.weights_sha256 == sha256_of(file)
    pretraining = ModelPackage.load(run / "package").card.provenance.pretraining
    assert pretraining.model_dump() == {
        "encoder": ENCODER,
        "weights": "encoder.safetensors",
        "sha256": sha256_of(file),
        **about,
    }
    assert "a laboratory, licence: CC-BY-4.0" in (run / "MODEL_CARD.md").read_text()
    mask, _ = predicted(run / "package", phantom)
    assert labels_over_http(run / "package", phantom, tmp_path).tolist() == mask.array.tolist()
    own = read_checkpoint(run / CHECKPOINT_FILE).averaged_weights
    for key, value in stored.items():
        mine = own[f"network.model.encoder.{key}"]
        if value.shape == mine.shape and "num_batches" not in key:
            torch.testing.assert_close(mine, value, msg=key)


def test_a_plan_whose_weights_are_gone_is_told_before_anything_is_written(
    phantom, tmp_path, caplog
):
    plan = tmp_path / "plan.yaml"
    arguments = ["--out", str(plan), "--network", ENCODER, *SMALL]
    assert make_plan([str(phantom), *arguments]) == 0
    plan.write_text(plan.read_text().replace("weights: null", "weights: gone.safetensors"))
    assert main([str(phantom), "--out", str(tmp_path / "run"), "--plan", str(plan)]) == 2
    assert "must be a safetensors file, gone.safetensors is not" in caplog.text
    assert not (tmp_path / "run" / "plan.yaml").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--network", "smp:resnt34"], "did you mean smp:resnet34"),
        (["--weights", "imagenet"], "--weights is for a foreign encoder"),
        (["--network", "smp:resnet18", "--weights", "imagnet"], "known are imagenet"),
        (
            ["--network", "smp:resnet18", "--shortcut", "gated"],
            "error: --shortcut changes seg's own",
        ),
        (["--network", ENCODER, "--shortcut", "gated"], "error: --shortcut changes seg's own"),
        (["--network", "smp:resnet18", "--attention", "1"], "error: --attention changes seg's own"),
        (["--network", ENCODER, "--attention", "1"], "attention follows the last stage of the"),
        (["--network", "monai:dynunet", "--elastic"], "has none that can be dropped"),
        (["--network", "smp:resnet18", "--weights", "no.safetensors"], "must be a safetensors"),
        (["--network", "monai:segresnet", "--weights", "imagenet"], "leave --weights out"),
    ],
)
def test_what_cannot_work_is_told_before_anything_is_written(
    arguments, words, phantom, tmp_path, caplog
):
    assert main([str(phantom), "--out", str(tmp_path / "run"), *arguments, *SMALL]) == 2
    assert words in caplog.text
    assert not (tmp_path / "run" / "plan.yaml").exists()
