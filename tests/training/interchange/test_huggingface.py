"""Packages as repositories of the Hugging Face hub, read by the hub's own library."""

import json

import numpy as np
import onnxruntime
from huggingface_hub import ModelCard as HubCard

from seg.model_package import ModelPackage, Score, read_card, write_card
from tests.packages import write_package
from training.export import main as export


def exported(tmp_path, **changes):
    package = write_package(
        tmp_path / "package", **{k: v for k, v in changes.items() if k == "task"}
    )
    card = read_card(package)
    scores = {"nucleus": Score(dice=0.9123, ci95=(0.9, 0.92), cases=7)}
    fields = {k: v for k, v in changes.items() if k != "task"}
    write_card(package, card.model_copy(update={"metrics": scores, **fields}))
    out = tmp_path / "out"
    assert export([str(package), "-o", str(out), "--to", "huggingface"]) == 0
    return out


def test_the_hub_s_library_reads_task_licence_and_scores(tmp_path):
    out = exported(tmp_path, licence="CC-BY-4.0")
    data = HubCard.load(out / "README.md").data
    assert (data.license, data.library_name, data.pipeline_tag) == (
        *("cc-by-4.0", "onnx"),
        "image-segmentation",
    )
    (result,) = data.eval_results
    assert (result.metric_type, result.metric_value) == ("dice", 0.9123)
    assert result.metric_name == "Dice of nucleus"
    assert result.dataset_name == "none"


def test_its_network_answers_as_the_package_s_golden_samples(tmp_path):
    out = exported(tmp_path)
    golden = ModelPackage.load(out / "package").golden()
    session = onnxruntime.InferenceSession(out / "onnx" / "model.onnx")
    (logits,) = session.run(None, {session.get_inputs()[0].name: golden.patches})
    np.testing.assert_allclose(logits, golden.logits, atol=1e-4)


def test_classes_are_named_as_the_network_s_channels_are(tmp_path):
    config = json.loads((exported(tmp_path / "exclusive") / "config.json").read_text())
    assert config["id2label"] == {"0": "background", "1": "cytoplasm", "2": "nucleus"}
    config = json.loads(
        (exported(tmp_path / "regions", task="regions") / "config.json").read_text()
    )
    assert config["id2label"] == {"0": "cytoplasm", "1": "nucleus"}
    assert config["label2id"]["nucleus"] == 1


def test_what_is_missing_is_said(tmp_path, capsys):
    exported(tmp_path)
    said = capsys.readouterr().out
    assert "README.md needs its licence" in said
    assert "without model.safetensors" in said
    assert "only where those images may be published" in said


def test_a_licence_in_words_is_another_one(tmp_path):
    data = HubCard.load(exported(tmp_path, licence="for research alone") / "README.md").data
    assert (data.license, data.license_name) == ("other", "for research alone")
