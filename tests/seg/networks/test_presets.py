from dataclasses import replace
from functools import cache

import pytest
import torch
import torchvision

from seg.errors import ConfigError
from seg.networks import PRESETS, ResidualUNet, parameter_count, preset

# The thousand layers take a minute to build and step: test_every_kind_of_preset_learns_one_step.
QUICK = sorted(PRESETS.keys() - {"preact-1001", "identity-1202"})


@cache
def built(name, spatial_dims, in_channels=3):
    """A network without memory for its weights."""
    config = preset(name, spatial_dims=spatial_dims, in_channels=in_channels, num_classes=3)
    with torch.device("meta"):
        return ResidualUNet(config)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_a_planner_decides_the_stages_of_a_preset(spatial_dims):
    strides = [(1,) * spatial_dims] + [(2,) * spatial_dims] * 6
    config = preset(
        "resunet-m", spatial_dims=spatial_dims, in_channels=1, num_classes=3, strides=strides
    )
    assert config.blocks == (1, 3, 4, 6, 6, 6, 6)
    assert config.features[-1] == {2: 512, 3: 320}[spatial_dims]


def test_an_unknown_preset_is_told_with_the_nearest():
    with pytest.raises(ConfigError, match="no network is called 'resunet'; did you mean resunet-"):
        preset("resunet", spatial_dims=2, in_channels=1, num_classes=2)


def test_the_medium_preset_has_the_size_of_nnunets():
    """102 M parameters: counted from nnU-Net's own network for one channel and three classes."""
    config = preset("resunet-m", spatial_dims=3, in_channels=1, num_classes=3)
    with torch.device("meta"):
        network = ResidualUNet(config)
    count = sum(weight.numel() for weight in network.parameters())
    assert count == pytest.approx(102e6, rel=0.01)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("name", QUICK)
def test_every_preset_takes_its_own_patch(name, spatial_dims):
    patch = PRESETS[name].patch[spatial_dims]
    network = built(name, spatial_dims).eval()
    with torch.no_grad():
        logits = network(torch.zeros(1, 3, *patch, device="meta"))
    assert logits.shape == (1, 3, *patch)


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_a_resnet_encoder_has_exactly_the_weights_of_torchvisions(depth):
    with torch.device("meta"):
        classifier = getattr(torchvision.models, f"resnet{depth}")()
    expected = parameter_count(classifier) - parameter_count(classifier.fc)
    assert parameter_count(built(f"resnet{depth}", 2).encoder) == expected


@pytest.mark.parametrize(
    ("name", "millions"), [("preact-164", 1.7), ("preact-1001", 10.2), ("identity-1202", 19.4)]
)
def test_a_deep_encoder_has_the_size_its_paper_gives(name, millions):
    assert parameter_count(built(name, 2).encoder) == pytest.approx(millions * 1e6, rel=0.015)


@pytest.mark.parametrize(
    ("name", "layers"), [("preact-164", 164), ("preact-1001", 1001), ("identity-1202", 1202)]
)
def test_a_deep_encoder_has_the_layers_its_name_says(name, layers):
    encoder = built(name, 2).encoder
    convs = [n for n, m in encoder.named_modules() if isinstance(m, torch.nn.Conv2d)]
    classifier = 1
    assert len([n for n in convs if "project" not in n]) + classifier == layers


# those that are left out have more of the same blocks
@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    sorted(PRESETS.keys() - {"resunet-m", "resunet-l", "resunet-xl", "resnet101", "resnet152"}),
)
def test_every_kind_of_preset_learns_one_step(name):
    config = preset(name, spatial_dims=2, in_channels=1, num_classes=2)
    network = ResidualUNet(replace(config, normalisation="instance")).train()
    size = [2 * stride for stride in config.total_stride]
    network(torch.randn(1, 1, *size)).square().mean().backward()
    gradients = [weight.grad for weight in network.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
