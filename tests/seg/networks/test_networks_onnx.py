from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from seg.networks import SHORTCUTS, ResidualUNet, UNetConfig, preset
from training.onnx_files.write import write_onnx

# One of each kind of stem, block and decoder; others have more of the same blocks.
EXPORTED = ["preact-164", "resnet50", "resunet-xs", "resunet-s-attention"]
FOREIGN = ["tu-test_convnext"]


def calibrated(config):
    """A network with weights and statistics that keep activations in a sane range."""
    torch.manual_seed(0)
    network = ResidualUNet(config).train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            module.momentum = 1.0
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
        network(images_for(config, 4))
    return network.eval()


def images_for(config, batch):
    size = [2 * stride for stride in config.total_stride]
    return torch.randn(batch, config.in_channels, *size)


def check_onnxruntime_agrees(network, folder):
    write_onnx(network, images_for(network.config, 2).numpy(), folder / "net.onnx")
    session = onnxruntime.InferenceSession(folder / "net.onnx", providers=["CPUExecutionProvider"])
    images = images_for(network.config, 3)
    (logits,) = session.run(["logits"], {"patches": images.numpy()})
    with torch.no_grad():
        expected = network(images).softmax(1).numpy()
    probabilities = torch.from_numpy(logits).softmax(1).numpy()
    assert expected.std() > 0.05
    np.testing.assert_allclose(probabilities, expected, atol=1e-4)


def tiny(spatial_dims, **changes):
    once, twice = (1,) * spatial_dims, (2,) * spatial_dims
    config = UNetConfig(
        spatial_dims=spatial_dims,
        in_channels=2,
        num_classes=3,
        features=(4, 8),
        blocks=(1, 2),
        strides=(once, twice),
        kernel_sizes=((3,) * spatial_dims,) * 2,
    )
    return replace(config, **changes)


@pytest.mark.slow
@pytest.mark.parametrize("shortcut", sorted(SHORTCUTS))
def test_onnxruntime_agrees_with_torch_on_every_shortcut(shortcut, tmp_path):
    spatial_dims = 2 + sorted(SHORTCUTS).index(shortcut) % 2
    config = tiny(spatial_dims, shortcut=shortcut, features=(8, 16))
    check_onnxruntime_agrees(calibrated(config), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_onnxruntime_agrees_with_torch_on_everything_at_once(spatial_dims, tmp_path):
    config = tiny(
        spatial_dims,
        features=(8, 32),
        strides=((2,) * spatial_dims,) * 2,
        stem="resnet",
        normalisation="group",
        squeeze_excitation=True,
        attention_blocks=1,
        stochastic_depth=0.2,
        checkpointed=True,
        decoder="residual",
        deep_supervision=True,
    )
    check_onnxruntime_agrees(calibrated(config), tmp_path)


@pytest.mark.slow
def test_onnxruntime_agrees_with_torch_on_a_shallower_network(tmp_path):
    network = calibrated(tiny(3))
    shallower = network.without(network.droppable_blocks())
    check_onnxruntime_agrees(shallower, tmp_path)


def short(name, spatial_dims):
    """A preset with one or two blocks a stage: time to export grows with their number."""
    config = preset(name, spatial_dims=spatial_dims, in_channels=1, num_classes=3)
    return replace(config, blocks=tuple(min(number, 2) for number in config.blocks))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*EXPORTED, *FOREIGN])
def test_onnxruntime_agrees_with_torch_on_every_kind_of_2d_preset(name, tmp_path):
    check_onnxruntime_agrees(calibrated(short(name, 2)), tmp_path)


@pytest.mark.slow
def test_onnxruntime_agrees_with_torch_on_a_3d_preset(tmp_path):
    check_onnxruntime_agrees(calibrated(short("resunet-s", 3)), tmp_path)
