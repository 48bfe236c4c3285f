"""The network that a run has trained, out of its checkpoint."""

from dataclasses import dataclass
from pathlib import Path

import torch

from seg.errors import ConfigError, SegError
from seg.networks import SegmentationNetwork, make_network
from training.dataset import Legend
from training.learning.callbacks import CHECKPOINT_FILE, StopInTime
from training.run.folder import RunFolder
from training.run.plan import Plan
from training.samples.object_targets import outputs_of


@dataclass(frozen=True)
class Trained:
    """A network with averaged weights, and what it took."""

    network: SegmentationNetwork
    steps: int
    seconds: float


@dataclass(frozen=True)
class Saved:
    """What a checkpoint says."""

    steps: int
    seconds: float
    averaged_weights: dict[str, torch.Tensor]


def read_checkpoint(checkpoint: Path) -> Saved | None:
    """What a checkpoint says; None where there is none.

    Raises:
        SegError: it cannot be read.
    """
    if not checkpoint.is_file():
        return None
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        return Saved(
            steps=int(state["global_step"]),
            seconds=float(state["callbacks"][StopInTime.__qualname__]["spent_s"]),
            averaged_weights=state["state_dict"],
        )
    except Exception as error:  # torch raises half a dozen unrelated types for a bad file
        raise SegError(
            f"{checkpoint} cannot be read ({type(error).__name__}); remove it to train from the "
            "beginning"
        ) from error


_PREFIX = "network."
"""Of the network's weights among those of the Lightning module."""


def trained_in(run: RunFolder, plan: Plan, legend: Legend) -> Trained:
    """The network with the averaged weights of the run's last checkpoint, ready to be asked.

    Raises:
        ConfigError: there is no checkpoint, or it is not one of this plan.
        SegError: the checkpoint cannot be read.
    """
    path = run.path / CHECKPOINT_FILE
    saved = read_checkpoint(path)
    if saved is None:
        raise ConfigError(f"{run.path} has no {CHECKPOINT_FILE}; name a run that has trained")
    weights = {
        name.removeprefix(_PREFIX): value
        for name, value in saved.averaged_weights.items()
        if name.startswith(_PREFIX)
    }
    network = make_network(plan.network_config(outputs_of(legend, plan.instances)))
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ConfigError(
            f"{path} does not hold the network of {run.plan}; one of them was changed after the "
            "training"
        ) from error
    return Trained(network.eval(), saved.steps, saved.seconds)
