"""A doctor who finds the block that does nothing, in a network made for it."""

import numpy as np
import pytest
import torch

from seg.errors import ConfigError
from seg.images import ClassInfo
from seg.networks import ResidualUNet, UNetConfig
from training.dataset.legend import Legend
from training.doctor import main
from training.variants.diagnosis import diagnose, diagnosis_in_words
from training.variants.probe import Probe

CLASSES = tuple(
    ClassInfo(index=n, name=name, color=(n, n, n)) for n, name in enumerate(("none", "cell"))
)


def network_with(shortcut):
    torch.manual_seed(0)
    config = UNetConfig(
        spatial_dims=2,
        in_channels=1,
        num_classes=2,
        features=(8, 8),
        blocks=(3, 2),
        strides=((1, 1), (2, 2)),
        kernel_sizes=((3, 3),) * 2,
        shortcut=shortcut,
    )
    network = ResidualUNet(config).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return network


def probe_for(network):
    """Windows whose truth is what the network says, so that any change costs Dice."""
    images = np.random.default_rng(0).normal(size=(6, 1, 16, 16)).astype(np.float32)
    with torch.inference_mode():
        labels = network(torch.from_numpy(images)).argmax(dim=1).numpy().astype(np.uint8)
    return Probe(images, labels, Legend(CLASSES))


def test_the_block_that_does_nothing_is_found_and_the_others_are_kept():
    network = network_with("gated")
    with torch.no_grad():
        network.get_submodule("encoder.stages.0.blocks.1").shortcut.gate.zero_()
    diagnosis = diagnose(network, probe_for(network), progress=False)
    idle = [each for each in diagnosis.findings if each.strength < 1e-6]
    assert [each.name for each in idle] == ["encoder.stages.0.blocks.1"]
    assert idle[0].lost == 0
    assert diagnosis.lesions.path[1].dropped == ("encoder.stages.0.blocks.1",)
    assert diagnosis.spare.dropped[:1] == ("encoder.stages.0.blocks.1",)
    assert "can go" in diagnosis_in_words(diagnosis)


def test_a_block_behind_a_closed_gate_is_removed_exactly():
    network = network_with("gated-channel")
    with torch.no_grad():
        network.get_submodule("encoder.stages.0.blocks.2").shortcut.gate.zero_()
    image = torch.randn(2, 1, 16, 16)
    with torch.inference_mode():
        pruned = network.without(["encoder.stages.0.blocks.2"])
        torch.testing.assert_close(pruned(image), network(image), atol=1e-6, rtol=0)


def test_a_network_without_shortcuts_has_nothing_to_drop():
    network = network_with("none")
    with pytest.raises(ConfigError, match="no block that can be dropped"):
        diagnose(network, probe_for(network), progress=False)


def test_what_is_no_run_is_one_sentence(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err
