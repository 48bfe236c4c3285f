"""Networks that torch itself exports to ONNX."""

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from seg.images import Image
from seg.inference import Predictor, load_backend
from seg.model_package import ModelPackage
from training.adopt import main

DESCRIPTION = {
    "name": "bands",
    "classes": ["background", "dark", "bright"],
    "normalisation": [{"kind": "rescale", "low": 0, "high": 100}],
}


class Bands(nn.Module):
    """Below 0.3, up to 0.6, and above."""

    def __init__(self, activation):
        super().__init__()
        self.activation = activation
        self.conv = nn.Conv2d(1, 3, 1)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([0.0, 10.0, 20.0]).reshape(3, 1, 1, 1))
            self.conv.bias.copy_(torch.tensor([0.0, -3.0, -9.0]))

    def forward(self, x):
        logits = self.conv(x)
        return {"none": logits, "softmax": logits.softmax(1), "sigmoid": logits.sigmoid()}[
            self.activation
        ]


def exported(folder, activation="none", *, fixed=True, batch=True):
    size = torch.export.Dim.DYNAMIC
    dynamic = dict.fromkeys(([0] if batch else []) + ([] if fixed else [2, 3]), size)
    torch.onnx.export(
        Bands(activation).eval(),
        (torch.zeros(2 if batch else 1, 1, 16, 24),),
        folder / "bands.onnx",
        dynamo=True,
        dynamic_shapes=(dynamic,) if dynamic else None,
        verbose=False,
    )
    return folder / "bands.onnx"


def adopt(folder, file, expected=0, **fields):
    spec = folder / "spec.yaml"
    spec.write_text(yaml.safe_dump(DESCRIPTION | fields))
    arguments = ["onnx", file, "--spec", spec, "-o", folder / "package"]
    assert main([str(each) for each in arguments]) == expected
    return None if expected else ModelPackage.load(folder / "package")


@pytest.mark.parametrize("activation", ["none", "softmax"])
@pytest.mark.parametrize("fixed", [True, False], ids=["fixed patch", "any patch"])
def test_masks_are_those_of_the_network(tmp_path, activation, fixed):
    patch = {} if fixed else {"patch": [20, 12]}
    file = exported(tmp_path, activation, fixed=fixed)
    package = adopt(tmp_path, file, activation=activation, **patch)
    assert package.card.input.patch == ((16, 24) if fixed else (20, 12))
    array = np.random.default_rng(0).uniform(0, 100, (1, 50, 70)).astype(np.float32)
    mask = Predictor(package, load_backend(package, provider="cpu")).predict(Image(array))
    expected = np.digitize(array[0], [30, 60])
    assert (mask.array == expected).mean() > 0.999


def test_a_network_of_one_patch_a_run_is_taken_too(tmp_path):
    package = adopt(tmp_path, exported(tmp_path, batch=False))
    assert len(package.golden().patches) > 1


def test_probabilities_of_sigmoids_are_those_of_regions(tmp_path):
    classes = ["background", "any", "dark", "bright"]
    package = adopt(
        tmp_path,
        exported(tmp_path, "sigmoid"),
        activation="sigmoid",
        task="regions",
        classes=classes,
    )
    image = Image(np.full((1, 16, 24), 45, np.float32))
    found = Predictor(package, load_backend(package, provider="cpu")).predict_probabilities(image)
    np.testing.assert_allclose(found[:, 0, 0], 1 / (1 + np.exp([0, -1.5, 0])), atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"classes": ["background", "x"]}, "2 channels"),
        ({"classes": ["background", "x", "x"]}, "different names"),
        ({"patch": [8, 8]}, "takes patches of"),
        ({"channels": [{"name": "a"}, {"name": "b"}]}, "2 are described"),
        ({"classes": "x"}, "classes"),
        ({"task": "instances"}, "task"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path, capsys, fields, words):
    adopt(tmp_path, exported(tmp_path), expected=2, **fields)
    assert words in capsys.readouterr().err
    assert not (tmp_path / "package").exists()


def test_a_file_that_is_no_onnx_is_told(tmp_path, capsys):
    (tmp_path / "bands.onnx").write_bytes(b"no model")
    adopt(tmp_path, tmp_path / "bands.onnx", expected=2)
    assert "no ONNX file" in capsys.readouterr().err
