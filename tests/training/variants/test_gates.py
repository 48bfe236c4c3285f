"""Gates that close and what is behind them."""

from dataclasses import replace

import pytest
import torch

from seg.errors import ConfigError
from seg.networks import ResidualUNet, UNetConfig
from training.dataset import load_dataset
from training.dataset.fingerprint import Fingerprint
from training.evaluation.evaluator import evaluate
from training.learning.gates import gates_of, price, pruned, shares_of
from training.learning.module import SegmentationModule
from training.onnx_files.read_back import network_in
from training.packaging.package import write_package
from training.run.device import find_device
from training.run.job import TrainingJob
from training.run.plan import changed_plan
from training.run.plan_yaml import read_plan
from training.variants.diagnosis import gates_in_words

PATCH = (16, 16)
CONFIG = UNetConfig(
    spatial_dims=2,
    in_channels=1,
    num_classes=2,
    features=(4, 6, 8),
    blocks=(1, 2, 2),
    strides=((1, 1), (2, 2), (2, 2)),
    kernel_sizes=((3, 3),) * 3,
    shortcut="gated",
    gated_skips=True,
)


def network_of(**changes):
    torch.manual_seed(0)
    network = ResidualUNet(replace(CONFIG, **changes)).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
        for gate in gates_of(network).values():
            gate.fill_(0.5)
    return network


def close(network, *names):
    with torch.no_grad():
        for name in names:
            gates_of(network)[name].fill_(0.0)


@pytest.mark.parametrize("shortcut", ["gated", "gated-channel"])
@pytest.mark.parametrize("dims", [2, 3])
def test_the_pruned_network_equals_the_gated_one(shortcut, dims):
    per_axis = {"strides": ((1,) * dims, (2,) * dims, (2,) * dims)}
    per_axis["kernel_sizes"] = ((3,) * dims,) * 3
    network = network_of(shortcut=shortcut, spatial_dims=dims, **per_axis)
    closed = ("encoder.stages.1.blocks.0", "encoder.stages.2.blocks.1", "decoder.levels.1")
    close(network, *closed)
    small = pruned(network)
    assert set(small.removed) == set(closed)
    image = torch.randn(2, 1, *(16,) * dims)
    with torch.inference_mode():
        torch.testing.assert_close(small.network(image), network(image), atol=1e-6, rtol=0)
    weights = dict(network.named_parameters())
    assert {name for name, _ in small.network.named_parameters()} < set(weights)


def test_every_skip_and_every_block_has_a_gate_with_a_price():
    network = network_of()
    shares = shares_of(network, PATCH)
    assert len(shares) == 5 + 2
    assert all(share > 0 for share in shares.values())
    paid = price(network, shares).detach()
    assert float(paid) == pytest.approx(0.5 * sum(shares.values()), rel=1e-5)
    close(network, "decoder.levels.1")
    assert price(network, shares) < paid


def test_an_open_network_is_left_as_it_is():
    network = network_of()
    assert pruned(network).network is network
    assert pruned(network_of(shortcut="identity", gated_skips=False)).removed == ()


def test_the_doctor_says_which_gates_have_closed():
    network = network_of()
    close(network, "decoder.levels.1")
    words = gates_in_words(network, PATCH)
    assert "1 of 7 gates have closed" in words
    (line,) = (line for line in words.splitlines() if "decoder.levels.1" in line)
    assert line.endswith("closed")
    assert gates_in_words(network_of(shortcut="identity", gated_skips=False), PATCH) == ""


@pytest.fixture
def gated_plan(run):
    return changed_plan(read_plan(run.plan), {"shortcut": "gated", "compute_penalty": 50.0})


def test_the_penalty_is_part_of_the_loss_and_rises_with_the_training(run, gated_plan, monkeypatch):
    legend = load_dataset(run.path / "data").legend
    monkeypatch.setattr(SegmentationModule, "log_dict", lambda *_, **__: None)
    monkeypatch.setattr(SegmentationModule, "global_step", property(lambda _: 0))
    module = SegmentationModule(gated_plan, legend)
    module._rate = lambda: 0.0
    batch = (torch.randn(2, 2, 32, 32), torch.randint(0, 2, (2, 1, 32, 32)))
    losses = {}
    for module.progress in (0.0, 0.5, 1.0):
        losses[module.progress] = float(module.training_step(batch, 0)["loss"].detach())
    paid = float(price(module.network, module.shares).detach())
    assert paid > 0
    assert losses[1.0] - losses[0.0] == pytest.approx(50 * paid, rel=1e-3)
    assert losses[0.5] - losses[0.0] == pytest.approx(25 * paid, rel=1e-3)


def test_a_package_lacks_what_has_closed_and_can_be_trained_on(run, gated_plan, tmp_path):
    dataset = load_dataset(run.path / "data")
    fingerprint = Fingerprint.model_validate_json(run.fingerprint.read_text())
    job = TrainingJob(gated_plan, fingerprint, dataset, find_device(), "test")
    torch.manual_seed(0)
    network = ResidualUNet(gated_plan.network_config(dataset.legend.outputs)).eval()
    kept, *closed = gates_of(network)
    with torch.no_grad():
        gates_of(network)[kept].fill_(0.3)
    close(network, *closed)
    finished = write_package(network, job, tmp_path / "package", lambda p: evaluate(
        p, dataset, dataset.test, progress=False))  # fmt: skip
    assert set(finished.package.card.variants[0].blocks_dropped) == set(closed)
    again = network_in(finished.package)
    image = torch.randn(1, 2, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(again(image), network(image), atol=1e-6, rtol=0)


def test_a_penalty_without_gates_is_one_sentence(run):
    with pytest.raises(ConfigError, match="shortcut gated"):
        changed_plan(read_plan(run.plan), {"compute_penalty": 1.0}).network_config(3)


def test_gated_skips_ask_for_a_decoder_that_starts_with_a_convolution():
    with pytest.raises(ConfigError, match="light decoder"):
        replace(CONFIG, decoder="residual")
