"""Bundles of networks that MONAI itself makes."""

import json
import shutil

import numpy as np
import pytest
import torch
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import SegResNet

from seg.images import Image
from seg.images.grid.orientation import turn_between
from seg.inference import Predictor, load_backend
from seg.model_package import ModelPackage
from tests.orders import stored_in
from training.adopt import main

PATCH = (24, 16, 8)
"""MONAI's order: x, y, z."""
ARGUMENTS = {"spatial_dims": 3, "in_channels": 1, "out_channels": 3, "init_filters": 8,
             "blocks_down": [1, 1], "blocks_up": [1]}  # fmt: skip


def bundle(folder, **changes):
    torch.manual_seed(0)
    module = SegResNet(**ARGUMENTS).eval()
    config = {
        "channels": 1,
        "network_def": {"_target_": "SegResNet", **ARGUMENTS, "in_channels": "@channels"},
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image"},
                {"_target_": "EnsureChannelFirstd", "keys": "image"},
                {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -100, "a_max": 300,
                 "b_min": 0, "b_max": 1, "clip": True},
            ],
        },
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": list(PATCH), "overlap": 0.5},
        **changes,
    }  # fmt: skip
    metadata = {
        "name": "organs",
        "network_data_format": {
            "inputs": {"image": {"modality": "CT", "channel_def": {"0": "image"}}},
            "outputs": {"pred": {"channel_def": {"0": "background", "1": "liver", "2": "spleen"}}},
        },
    }
    (folder / "configs").mkdir()
    (folder / "models").mkdir()
    (folder / "configs" / "inference.json").write_text(json.dumps(config))
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    torch.save(module.state_dict(), folder / "models" / "model.pt")
    return module


def adopt(folder, *more, expected=0):
    target = folder / "package"
    assert main(["monai", str(folder), "-o", str(target), *more]) == expected
    return None if expected else ModelPackage.load(target)


def test_masks_are_those_of_the_bundle(tmp_path):
    module = bundle(tmp_path)
    package = adopt(tmp_path)
    assert package.card.input.patch == PATCH[::-1]
    array = np.random.default_rng(0).uniform(-200, 400, (1, *PATCH[::-1])).astype(np.float32)
    prepared = torch.from_numpy((np.clip(array, -100, 300) + 100) / 400)
    with torch.inference_mode():
        turned = prepared[None].permute(0, 1, 4, 3, 2)
        logits = SlidingWindowInferer(PATCH)(turned, module).permute(0, 1, 4, 3, 2)[0].numpy()
    mask = Predictor(package, load_backend(package, provider="cpu")).predict(Image(array))
    clear = np.diff(np.sort(logits, axis=0)[-2:], axis=0)[0] > 1e-4
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(mask.array[clear], logits.argmax(0)[clear])


@pytest.mark.parametrize("more", [(), ("--stored-as", "RAS")])
def test_images_that_the_bundle_turns_are_turned_by_the_package(tmp_path, capsys, more):
    turning = [{"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"}]
    bundle(tmp_path, preprocessing={"_target_": "Compose", "transforms": turning})
    package = adopt(tmp_path, *more)
    assert package.card.input.orientation == "RAS"
    assert "images are turned to RAS" in capsys.readouterr().out
    predictor = Predictor(package, load_backend(package, provider="cpu"))
    image = Image(
        np.random.default_rng(0).normal(size=(1, *PATCH[::-1])).astype(np.float32), affine=np.eye(4)
    )
    there = turn_between("RAS", "LPI")
    mask = predictor.predict(stored_in(image, there))
    np.testing.assert_array_equal(there.back(mask.array), predictor.predict(image).array)


def test_an_orientation_that_is_none_is_refused(tmp_path, capsys):
    bundle(tmp_path)
    adopt(tmp_path, "--stored-as", "RAX", expected=2)
    assert "3 axis codes such as RAS" in capsys.readouterr().err


def test_a_bundle_that_says_nothing_gets_what_the_user_says(tmp_path, capsys):
    bundle(tmp_path)
    assert adopt(tmp_path, "--stored-as", "LPS").card.input.orientation == "LPS"
    shutil.rmtree(tmp_path / "package")
    assert adopt(tmp_path).card.input.orientation is None
    assert "--stored-as RAS states it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network_def": {"_target_": "my.Network"}}, "my.Network"),
        ({"network_def": {"_target_": "SegResNet", "spatial_dims": "$__import__('os')"}}, "be run"),
        ({"preprocessing": [{"_target_": "CropForegroundd"}]}, "CropForegroundd"),
        (
            {"network_def": {"_target_": "SegResNet", **ARGUMENTS, "out_channels": 2}},
            "does not fit",
        ),
    ],
)
def test_what_packages_cannot_hold_is_refused_by_name(tmp_path, capsys, changes, words):
    bundle(tmp_path, **changes)
    adopt(tmp_path, expected=2)
    assert words in capsys.readouterr().err
    assert not (tmp_path / "package").exists()
