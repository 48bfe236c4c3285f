"""What can be asked for by name, and what is said where it cannot be."""

import sys
from pathlib import Path

import pytest
import torch

from seg.errors import ConfigError
from seg.networks import make_network, network_config
from seg.networks.foreign.own_code import ALLOWED, allow


def config_of(name, dims=2, channels=3, **more):
    return network_config(name, spatial_dims=dims, in_channels=channels, num_classes=2, **more)


@pytest.mark.parametrize(
    ("name", "dims", "channels", "multiple"),
    [
        ("smp:resnet18", 2, 1, 32),
        ("smp:unetplusplus/resnet18", 2, 2, 32),
        ("smp:fpn/mobilenet_v2", 2, 5, 32),
        ("smp:deeplabv3plus/resnet18", 2, 3, 16),
        ("smp:segformer/mit_b0", 2, 2, 32),
        ("smp:unet/tu-mobilenetv3_small_050", 2, 3, 32),
        ("seg:resnet34+tu-resnet10t", 2, 1, 32),
        ("monai:segresnet", 3, 1, 8),
        ("monai:swinunetr", 2, 1, 32),
        ("monai:dynunet", 3, 2, 16),
    ],
)
def test_a_network_s_multiple_is_the_least_that_it_takes(name, dims, channels, multiple):
    config = config_of(name, dims, channels)
    assert config.total_stride == (multiple,) * dims
    network = make_network(config).eval()
    edges = (multiple, *(2 * multiple,) * (dims - 1))
    with torch.inference_mode():
        assert network(torch.zeros(2, channels, *edges)).shape == (2, 2, *edges)
    with pytest.raises(ConfigError, match="must be multiples of"):
        network(torch.zeros(1, channels, *(multiple + 1,) * dims))


def test_dynunet_takes_the_strides_of_the_plan():
    strides, kernels = [(1, 1, 1), (1, 2, 2), (2, 2, 2)], [(1, 3, 3), (1, 3, 3), (3, 3, 3)]
    config = config_of("monai:dynunet", 3, 1, strides=strides, kernel_sizes=kernels)
    assert make_network(config).eval()(torch.zeros(1, 1, 2, 8, 8)).shape == (1, 2, 2, 8, 8)


@pytest.mark.parametrize(
    ("name", "dims", "words"),
    [
        ("smp:resnt34", 2, "did you mean smp:resnet34"),
        ("smp:unett/resnet34", 2, "did you mean smp:unet/resnet34"),
        ("smp:fpn/resnet3", 2, "did you mean smp:fpn/resnet34"),
        ("smp:unet/tu-resnt18", 2, "did you mean smp:unet/tu-resnet18"),
        ("smp:fpn/ConvNeXt_atto", 2, r"did you mean smp:fpn/tu-convnext_atto\?"),
        ("seg:resnet34+tu-resnt18", 2, r"did you mean seg:resnet34\+tu-resnet18"),
        ("seg:ResNet34+resnet18", 2, "did you mean resnet34"),
        ("smp:unet/tu-resnet18.a9", 2, r"did you mean smp:unet/tu-resnet18\."),
        ("my-networks:tiny", 2, "one of your own is package.module:function"),
        ("smp:dpt/resnet34", 2, "cannot be trained here: it needs .* vision transformers"),
        ("monai:segres", 2, "did you mean monai:segresnet"),
        ("snp:resnet34", 2, "did you mean smp:resnet34"),
        ("smp:unet", 2, "names no encoder; write smp:ARCHITECTURE/ENCODER"),
        ("smp:fpn/", 2, "such as smp:fpn/resnet34"),
        ("smp:UnetPlusPlus/resnet34", 2, "did you mean smp:unetplusplus/resnet34"),
        ("smp:deeplabv3+/resnet34", 2, r"did you mean smp:deeplabv3plus/resnet34\?"),
        ("smp:unet/ResNet34", 2, r"did you mean smp:unet/resnet34\?"),
        ("unet/resnet34", 2, r"did you mean smp:unet/resnet34\?"),
        ("timm:resnet18", 2, r"did you mean tu-resnet18\?"),
        ("MONAI:segresnet", 2, r"did you mean monai:segresnet\?"),
        ("convnext_atto", 2, r"did you mean tu-convnext_atto\?"),
        ("seg:resnet34", 2, r"write seg:PRESET\+ENCODER"),
        ("seg:resnet3+resnet18", 2, "no preset is called"),
        ("smp:resnet34", 3, "is an encoder for 2D images, these have 3 dimensions"),
        ("tu-resnet18", 3, "is an encoder for 2D images, these have 3 dimensions"),
        ("seg:resnet34+resnet18", 3, "is an encoder for 2D images"),
    ],
)
def test_what_cannot_work_is_one_sentence_with_what_would(name, dims, words):
    with pytest.raises(ConfigError, match=words):
        config_of(name, dims)


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """A user's file beside the data."""
    (tmp_path / "my_networks.py").write_text(
        "from torch import nn\n"
        "def halving(in_channels, num_classes, spatial_dims):\n"
        "    return nn.Sequential(nn.Conv2d(in_channels, num_classes, 6, 6),"
        " nn.Upsample(scale_factor=6))\n"
        "def shrinking(in_channels, num_classes):\n"
        "    return nn.Conv2d(in_channels, num_classes, 3)\n"
        "def lazy(num_classes): return nn.LazyConv2d(num_classes, 1)\n"
        "def four(): return nn.Conv2d(3, 4, 1)\n"
        "def twenty(in_channels, num_classes):\n"
        "    return nn.Sequential(nn.Conv2d(in_channels, num_classes, 20, 20),"
        " nn.Upsample(scale_factor=20))\n"
        "class Choosing(nn.Conv2d):\n"
        "    def forward(self, x):\n"
        "        return super().forward(x) if x.mean() > 0 else 2 * super().forward(x)\n"
        "def choosing(in_channels, num_classes): return Choosing(in_channels, num_classes, 1)\n"
        "def none(): return 1\n"
        "def raising(): raise ValueError('a fault\\nof many lines')\n"
        "def unfinished(): return nn.Module()\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv(ALLOWED, raising=False)
    yield "my_networks"
    sys.modules.pop("my_networks", None)


def test_one_s_own_network_runs_only_where_it_was_asked_for(own_module, monkeypatch):
    monkeypatch.setenv(ALLOWED, "")
    name = f"{own_module}:halving"
    with pytest.raises(ConfigError, match="run only if you name it"):
        config_of(name)
    assert own_module not in sys.modules
    allow(name)
    assert config_of(name).total_stride == (6, 6)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("shrinking", "takes no 2D patch .* it makes"),
        ("none", "must return a torch.nn.Module, got int"),
        ("four", r"must map .* to logits \(b, 2, \*patch\), got \(2, 4, 2, 2\)"),
        ("lazy", "lazy layers"),
        ("absent", "cannot be used: .*absent"),
        ("raising", "fails: ValueError: a fault of many lines"),
        ("unfinished", 'takes no 2D patch .*missing the required "forward"'),
    ],
)
def test_one_s_own_network_must_keep_the_size(own_module, function, words, monkeypatch):
    monkeypatch.setenv(ALLOWED, f"{own_module}:{function}")
    with pytest.raises(ConfigError, match=words):
        config_of(f"{own_module}:{function}")


@pytest.mark.parametrize(
    ("function", "multiple"), [("twenty", 20), pytest.param("choosing", 1, id="asks for numbers")]
)
def test_whatever_multiple_one_s_own_network_has_is_found(
    own_module, function, multiple, monkeypatch
):
    monkeypatch.setenv(ALLOWED, f"{own_module}:{function}")
    assert config_of(f"{own_module}:{function}").total_stride == (multiple, multiple)


@pytest.mark.parametrize("text", ["raise RuntimeError('a fault')", "def (", "raise SystemExit(0)"])
def test_a_module_that_cannot_be_imported_is_one_sentence(text, tmp_path, monkeypatch):
    (tmp_path / "my_faults.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv(ALLOWED, "my_faults:tiny")
    with pytest.raises(ConfigError, match="my_faults:tiny cannot be used: "):
        config_of("my_faults:tiny")


def test_one_s_own_network_is_found_beside_the_data_by_a_command_that_is_installed(
    own_module, monkeypatch
):
    monkeypatch.setattr(
        sys, "path", [each for each in sys.path if each not in ("", str(Path.cwd()))]
    )
    monkeypatch.setenv(ALLOWED, f"{own_module}:twenty")
    assert config_of(f"{own_module}:twenty").total_stride == (20, 20)
