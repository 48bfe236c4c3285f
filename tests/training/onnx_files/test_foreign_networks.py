"""Encoders of many families, under all kinds of decoders: a step, an export, the same answer."""

import numpy as np
import pytest
import torch
from numpy.random import default_rng
from torch.nn import functional

from seg.errors import ConfigError
from seg.model_package import GoldenSamples
from seg.networks import make_network, network_config
from seg.networks.foreign.own_code import ALLOWED
from training.onnx_files.proof import proven, reference_logits
from training.onnx_files.write import write_onnx
from training.planning.rehearsal import rehearse_export

CHANNELS, CLASSES = 2, 3
NAMES = (
    "smp:unet/tu-test_resnet",
    "smp:manet/tu-test_efficientnet",
    "smp:deeplabv3plus/tu-test_byobnet",
    pytest.param("smp:segformer/tu-poolformer_s12", marks=pytest.mark.long),
    "tu-test_convnext",
    pytest.param("seg:resunet-xs+tu-ghostnet_050", marks=pytest.mark.long),
    "monai:segresnet",
)
"""One of each kind, as small as timm has it; benchmarks/encoders.py tries eighty."""


def config_of(name, dims=2):
    return network_config(name, spatial_dims=dims, in_channels=CHANNELS, num_classes=CLASSES)


def after_a_step(config, patches):
    """The network, moved away from its random weights."""
    torch.manual_seed(0)
    network = make_network(config).train()
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3)
    logits = network(torch.from_numpy(patches))
    labels = torch.randint(CLASSES, (len(patches), *patches.shape[2:]))
    functional.cross_entropy(logits[0] if isinstance(logits, list) else logits, labels).backward()
    optimiser.step()
    assert all(weight.isfinite().all() for weight in network.parameters())
    return network.eval()


@pytest.mark.parametrize("name", NAMES)
def test_a_network_takes_a_step_and_onnxruntime_says_what_it_says(name, tmp_path):
    config = config_of(name)
    shape = (2, CHANNELS, *(max(2 * stride, 64) for stride in config.total_stride))
    patches = default_rng(0).normal(size=shape).astype(np.float32)
    network = after_a_step(config, patches)
    write_onnx(network, patches, tmp_path / "full.onnx")
    golden = GoldenSamples(patches, reference_logits(network, patches))
    assert proven(tmp_path / "full.onnx", golden, "exclusive") <= 1e-4


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("smp:unet/tu-swin_tiny_patch4_window7_224", "takes no 2D patch .* doesn't match model"),
        ("smp:unet/tu-hiera_tiny_224", "takes no 2D patch"),
        ("smp:unet/tu-vit_tiny_patch16_224", "features at strides 16, 16, 16, where a U-Net"),
        ("smp:dpt/resnet34", "takes images of one size"),
    ],
)
def test_what_takes_images_of_one_size_only_is_refused_by_name(name, words):
    with pytest.raises(ConfigError, match=words):
        config_of(name)


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    (tmp_path / "my_odd_networks.py").write_text(
        "import torch\n"
        "class OddNetwork(torch.nn.Conv2d):\n"
        "    def forward(self, x):\n"
        "        x = super().forward(x)\n"
        "        return x * torch.linalg.svdvals(x.flatten(2)).amax(1)[:, None, None, None]\n"
        "class FickleNetwork(torch.nn.Conv2d):\n"
        "    def forward(self, x):\n"
        "        x = super().forward(x)\n"
        "        return x if torch.compiler.is_compiling() else 2 * x\n"
        "class Training(torch.nn.Conv2d):\n"
        "    made = staticmethod(lambda y: y)\n"
        "    def forward(self, x):\n"
        "        y = super().forward(x)\n"
        "        return self.made(y) if self.training else y\n"
        "def training(made):\n"
        "    network = Training(2, 2, 1)\n"
        "    network.made = made\n"
        "    return network\n"
        "pool = torch.nn.AvgPool2d(2)\n"
        "def named(): return training(lambda y: {'out': y, 'aux': y})\n"
        "def stacked(): return training(lambda y: torch.stack([y, y], 1))\n"
        "def halved(): return training(lambda y: pool(y))\n"
        "def coarse_first(): return training(lambda y: [pool(y), y])\n"
        "def deep(): return training(lambda y: [y, pool(y)])\n"
        "def frozen(): return training(lambda y: y).requires_grad_(False)\n"
        "def likely(): return torch.nn.Sequential(torch.nn.Conv2d(2, 2, 1), torch.nn.Softmax(1))\n"
        "class Answering(torch.nn.Conv2d):\n"
        "    made = staticmethod(lambda y: y)\n"
        "    def forward(self, x): return self.made(super().forward(x), x)\n"
        "def answering(made):\n"
        "    network = Answering(2, 2, 1)\n"
        "    network.made = made\n"
        "    return network\n"
        "drop = torch.nn.functional.dropout\n"
        "def restless(): return answering(lambda y, x: drop(y, training=True))\n"
        "def sociable(): return answering(lambda y, x: y - y.mean(0))\n"
        "def greedy(): return answering(lambda y, x: y + x.data.mul_(2).mean())\n"
        "def exact(): return answering(lambda y, x: y.double())\n"
        "def endless(): return answering(lambda y, x: y / 0)\n"
        "def odd(): return OddNetwork(2, 2, 1)\n"
        "def fickle(): return FickleNetwork(2, 2, 1)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return "my_odd_networks"


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("odd", "cannot be written as ONNX"),
        ("fickle", "other logits as ONNX than in torch"),
        ("likely", "returns probabilities, .* return what goes into its last softmax"),
        ("restless", "something else each time it is asked about the same images"),
        ("sociable", "something else of a patch where others are with it"),
        ("greedy", "changes the images that it is given"),
        ("exact", "returns torch.float64"),
        ("endless", "values that are not finite"),
        ("named", "cannot be trained: .*it returns dict"),
        ("stacked", r"cannot be trained: .*it returns \[\(2, 2, 2, 2, 2\)\], .* begin with"),
        ("halved", r"cannot be trained: .*it returns \[\(2, 2, 1, 1\)\]"),
        ("coarse_first", "cannot be trained: .* which should begin with"),
        ("frozen", "cannot be trained: .*no weight learns"),
    ],
)
def test_a_network_that_no_package_can_hold_is_told_before_it_is_trained(
    function, words, own_module, monkeypatch
):
    name = f"{own_module}:{function}"
    monkeypatch.setenv(ALLOWED, name)
    config = network_config(name, spatial_dims=2, in_channels=2, num_classes=2)
    with pytest.raises(ConfigError, match=words):
        rehearse_export(name, config)


def test_one_s_own_deep_supervision_is_taken_with_the_finest_logits_first(own_module, monkeypatch):
    name = f"{own_module}:deep"
    monkeypatch.setenv(ALLOWED, name)
    rehearse_export(name, network_config(name, spatial_dims=2, in_channels=2, num_classes=2))
