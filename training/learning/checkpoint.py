"""The network that a run has trained, out of its checkpoint."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from seg.errors import ConfigError, SegError
from seg.networks import SegmentationNetwork, make_network
from training.dataset import Legend
from training.learning.callbacks import CHECKPOINT_FILE, ORIGIN, StopInTime
from training.run.folder import RunFolder
from training.run.origin import check_origin
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
    origin: Mapping[str, Any] | None = None
    """``training.run.origin``; None in one of older times."""


TO_GO_ON = frozenset({"averaging_state", "current_model_state", "optimizer_states", "loops"})
"""Of a checkpoint, for a training to go on, beside what is read here."""


def read_checkpoint(checkpoint: Path, needed: Collection[str] = ()) -> Saved | None:
    """What a checkpoint says; None where there is none.

    Args:
        checkpoint: the file.
        needed: what it must hold beside that.

    Raises:
        SegError: it cannot be read.
    """
    if not checkpoint.is_file():
        return None
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        if lacking := set(needed) - state.keys():
            raise KeyError(*lacking)
        return Saved(
            steps=int(state["global_step"]),
            seconds=float(state["callbacks"][StopInTime.__qualname__]["spent_s"]),
            averaged_weights=state["state_dict"],
            origin=state.get(ORIGIN),
        )
    except Exception as error:  # torch raises half a dozen unrelated types for a bad file
        raise SegError(
            f"{checkpoint} cannot be read ({type(error).__name__}); remove it to train from the "
            "beginning"
        ) from error


def check_shapes(weights: Mapping[str, torch.Tensor], module: nn.Module, run: RunFolder) -> None:
    """Pass where a module has just these weights.

    Raises:
        ConfigError: they are of another network.
    """
    own = module.state_dict()
    if {name: each.shape for name, each in weights.items()} != {
        name: each.shape for name, each in own.items()
    }:
        raise ConfigError(
            f"{run.path / CHECKPOINT_FILE} does not hold the network of {run.plan}; one of them "
            "was changed after the training"
        )


_PREFIX = "network."
"""Of the network's weights among those of the Lightning module."""


def trained_in(run: RunFolder, plan: Plan, legend: Legend) -> Trained:
    """The network with the averaged weights of the run's last checkpoint, ready to be asked.

    Raises:
        ConfigError: there is no checkpoint, or it is not one of this plan and these data.
        SegError: the checkpoint cannot be read.
    """
    path = run.path / CHECKPOINT_FILE
    saved = read_checkpoint(path)
    if saved is None:
        raise ConfigError(f"{run.path} has no {CHECKPOINT_FILE}; name a run that has trained")
    check_origin(saved.origin, plan, run)
    weights = {
        name.removeprefix(_PREFIX): value
        for name, value in saved.averaged_weights.items()
        if name.startswith(_PREFIX)
    }
    network = make_network(plan.network_config(outputs_of(legend, plan.instances)))
    check_shapes(weights, network, run)
    network.load_state_dict(weights)
    return Trained(network.eval(), saved.steps, saved.seconds)
