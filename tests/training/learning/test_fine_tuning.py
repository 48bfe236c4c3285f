"""Trainings that begin with a package, on drawn images."""

import json
import shutil

import numpy as np
import pytest

from data.phantom import draw
from seg.inference import load_backend
from seg.model_package import ModelPackage
from tests.datasets import edit_json
from training.fit import main
from training.run.plan_yaml import read_plan

STAY = ["--steps", "1", "--batch-size", "2", "--precision", "float32", "--learning-rate", "1e-9"]
"""One step that changes next to nothing."""


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("data") / "phantom", cases=3, size=(48, 64))


@pytest.fixture(scope="module")
def package(phantom, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    small = ["--patch", "32", "32", "--network", "resunet-xs", "--precision", "float32"]
    command = [str(phantom), "--out", str(folder), "--steps", "30", "--batch-size", "2", *small]
    assert main([*command, "--shortcut", "gated", "--loss", "dice_ce"]) == 0
    return folder / "package"


def tuned(package, data, folder):
    assert main([str(data), "--out", str(folder), "--from", str(package), *STAY]) == 0
    return ModelPackage.load(folder / "package")


def logits(package, patches):
    return load_backend(package).run(patches)


def scores(package):
    metrics = json.loads((package.path.parent / "metrics.json").read_text())
    return {name: each["dice"] for name, each in metrics["summary"].items()}


def test_it_starts_at_the_package_s_own_dice(package, phantom, tmp_path):
    old, new = ModelPackage.load(package), tuned(package, phantom, tmp_path / "run")
    assert scores(new) == pytest.approx(scores(old), abs=1e-3)
    plan = read_plan(tmp_path / "run" / "plan.yaml")
    assert (plan.network, plan.shortcut) == ("resunet-xs", "gated")
    assert plan.preprocessing == old.card.input.preprocessing
    patches = old.golden().patches
    np.testing.assert_allclose(logits(new, patches), logits(old, patches), atol=1e-3)


def test_one_more_class_leaves_the_others_as_they_were(package, phantom, tmp_path):
    data = shutil.copytree(phantom, tmp_path / "data")
    labels = json.loads((data / "dataset.json").read_text())["labels"]
    edit_json(data, labels={**labels, "debris": len(labels)})
    old, new = ModelPackage.load(package), tuned(package, data, tmp_path / "run")
    patches = old.golden().patches
    ours = logits(new, patches)
    assert ours.shape[1] == len(labels) + 1
    np.testing.assert_allclose(ours[:, : len(labels)], logits(old, patches), atol=1e-3)
    np.testing.assert_allclose(ours[:, -1], -4, atol=1e-3)


def test_one_more_channel_changes_nothing_at_first(package, phantom, tmp_path):
    data = shutil.copytree(phantom, tmp_path / "data")
    card = json.loads((data / "dataset.json").read_text())
    names = ["dye", *card["channel_names"].values()]
    edit_json(
        data,
        channel_names={str(number): name for number, name in enumerate(names)},
        modalities=["microscopy"] * len(names),
    )
    for folder in ("imagesTr", "imagesTs"):
        for file in sorted((data / folder).iterdir(), reverse=True):
            stem, _, number = file.name.partition(".")[0].rpartition("_")
            ending = file.name.partition(".")[2]
            file.rename(file.with_name(f"{stem}_{int(number) + 1:04}.{ending}"))
            if number == "0000":
                shutil.copy(
                    file.with_name(f"{stem}_{1:04}.{ending}"),
                    file.with_name(f"{stem}_0000.{ending}"),
                )
    old, new = ModelPackage.load(package), tuned(package, data, tmp_path / "run")
    patches = old.golden().patches
    more = np.concatenate([np.ones_like(patches[:, :1]), patches], axis=1)
    np.testing.assert_allclose(logits(new, more), logits(old, patches), atol=1e-3)


def test_another_network_than_the_package_s_is_one_sentence(package, phantom, tmp_path, caplog):
    command = [str(phantom), "--out", str(tmp_path / "run"), "--from", str(package), *STAY]
    assert main([*command, "--network", "resunet-s"]) == 2
    assert "is built otherwise" in caplog.text


def test_a_folder_that_is_no_package_is_one_sentence(phantom, tmp_path, caplog):
    assert main([str(phantom), "--out", str(tmp_path / "run"), "--from", str(tmp_path), *STAY]) == 2
    assert "is no model package" in caplog.text
