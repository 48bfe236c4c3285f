"""Networks that segmentation-models-pytorch itself makes."""

import signal
from dataclasses import replace

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from safetensors.torch import save_file

from seg.commands import STOPPED
from seg.errors import ConfigError
from seg.images import Image
from seg.inference import Predictor, load_backend
from seg.model_package import ModelPackage
from tests.signals import sent_as_soon_as
from training.adopt import main
from training.interchange.smp_model import Built, adopt_smp

PATCH = (64, 64)
BUILT = Built(arch="unet", encoder="resnet18", classes=("road",), patch=PATCH)


def network(classes):
    torch.manual_seed(0)
    return smp.create_model("unet", "resnet18", encoder_weights=None, classes=classes).eval()


def adopt(folder, file, *names, expected=0):
    arguments = ["smp", file, "-o", folder / "package", "--arch", "unet", "--encoder"]
    arguments += ["resnet18", "--patch", *PATCH, "--classes", *names]
    assert main([str(each) for each in arguments]) == expected
    return None if expected else ModelPackage.load(folder / "package")


def normalised(array):
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    return ((array / 255 - mean[:, None, None]) / std[:, None, None]).astype(np.float32)


def test_masks_are_those_of_the_network(tmp_path):
    module = network(3)
    save_file(module.state_dict(), tmp_path / "weights.safetensors")
    package = adopt(tmp_path, tmp_path / "weights.safetensors", "background", "road", "house")
    array = np.random.default_rng(0).integers(0, 256, (3, *PATCH)).astype(np.uint8)
    with torch.inference_mode():
        logits = module(torch.from_numpy(normalised(array))[None])[0].numpy()
    mask = Predictor(package, load_backend(package, provider="cpu")).predict(Image(array))
    clear = np.diff(np.sort(logits, axis=0)[-2:], axis=0)[0] > 1e-4
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(mask.array[clear], logits.argmax(0)[clear])


def test_a_checkpoint_of_lightning_with_one_class_is_a_region(tmp_path):
    module = network(1)
    wrapped = {f"model.{name}": tensor for name, tensor in module.state_dict().items()}
    torch.save({"state_dict": wrapped, "epoch": 3}, tmp_path / "last.ckpt")
    model, _ = adopt_smp(tmp_path / "last.ckpt", BUILT)
    assert model.task == "regions"
    assert [info.name for info in model.classes] == ["background", "road"]
    patches = np.random.default_rng(0).normal(size=(1, 3, *PATCH)).astype(np.float32)
    with torch.inference_mode():
        expected = module(torch.from_numpy(patches)).numpy()
    np.testing.assert_allclose(model.networks["full"].logits(patches), expected, atol=1e-5)


def test_weights_of_another_network_are_told(tmp_path, capsys):
    torch.save(network(2).state_dict(), tmp_path / "weights.pth")
    adopt(tmp_path, tmp_path / "weights.pth", "background", "road", "house", expected=2)
    assert "check --arch, --encoder, --classes" in capsys.readouterr().err


def test_one_that_is_terminated_leaves_nothing_behind(tmp_path, monkeypatch, capsys):
    torch.save(network(3).state_dict(), tmp_path / "weights.pth")
    (scratch := tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    # with a file in it: a folder alone may be seen before anyone could know its name
    with sent_as_soon_as(lambda: list(scratch.glob("seg-adopt-*/*")), signal.SIGTERM):
        adopt(tmp_path, tmp_path / "weights.pth", "background", "a", "b", expected=STOPPED)
    assert not list(scratch.glob("seg-adopt-*"))
    assert not (tmp_path / "package").exists()
    assert "stopped" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arch", "encoder", "sentence"),
    [
        ("unet", "resnet3", r"knows no encoder 'resnet3'; near to it are .*resnet34.*tu-$"),
        ("unett", "resnet34", "knows no architecture 'unett'; near to it are unet, "),
        ("linknet", "mit_b0", "does not build linknet with mit_b0: .* not supported"),
    ],
)
def test_a_network_that_there_is_not_is_one_sentence(tmp_path, arch, encoder, sentence):
    with pytest.raises(ConfigError, match=sentence) as error:
        adopt_smp(tmp_path / "weights.pth", replace(BUILT, arch=arch, encoder=encoder))
    assert len(str(error.value)) < 200, "the library lists all of them"
