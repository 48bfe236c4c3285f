"""A run whose network has random weights and blocks that do something, and its variants."""

import numpy as np
import pytest
import torch

from data.phantom import draw
from seg.networks import ResidualUNet
from training.dataset import load_dataset
from training.dataset.fingerprint import take_fingerprint
from training.export import main
from training.learning.callbacks import CHECKPOINT_FILE
from training.planning.rules import make_plan
from training.run.folder import RunFolder
from training.run.plan_yaml import write_plan


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    run = RunFolder(tmp_path_factory.mktemp("elastic") / "run")
    data = draw(run.path / "data", dims=2, cases=4, size=(48, 40))
    dataset = load_dataset(data)
    fingerprint = take_fingerprint(
        map(dataset.read, dataset.train), dataset.legend, np.random.default_rng(0)
    )
    chosen = {"dataset": dataset.name, "data": str(data), "minutes": 1.0, "patch": (32, 32)}
    # few stages: torch's exporter takes its time with each layer
    chosen |= {"strides": [(1, 1), (2, 2)], "kernel_sizes": [(3, 3)] * 2}
    plan = make_plan(fingerprint, dataset.channels, "cpu", **chosen)
    run.fingerprint.write_text(fingerprint.model_dump_json())
    write_plan(plan, run.plan)
    torch.manual_seed(0)
    network = ResidualUNet(plan.network_config(dataset.legend.outputs))
    with torch.no_grad():  # fresh branches are 0: dropping them would change nothing
        for weight in network.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
    weights = {f"network.{name}": weight for name, weight in network.state_dict().items()}
    state = {
        "global_step": 3,
        "state_dict": weights,
        "callbacks": {"StopInTime": {"spent_s": 1.0}},
    }
    torch.save(state, run.path / CHECKPOINT_FILE)
    return run


@pytest.fixture(scope="session")
def exported(run, tmp_path_factory):
    """All that may be lost is allowed, so that random weights leave variants at all."""
    target = tmp_path_factory.mktemp("variants") / "package"
    options = ["--variants", "--most-lost", "1", "--depths", "1", "--against", str(run.path)]
    assert main([str(run.path), "-o", str(target), *options]) == 0
    return target
