"""The network that a run has trained, out of its checkpoint."""

import torch

from seg.errors import ConfigError
from seg.networks import ResidualUNet
from training.callbacks import CHECKPOINT_FILE
from training.dataset import Legend
from training.plan import Plan
from training.run_folder import RunFolder

_PREFIX = "network."
"""Of the network's weights among those of the Lightning module."""


def trained_network(run: RunFolder, plan: Plan, legend: Legend) -> ResidualUNet:
    """The network with the averaged weights of the run's last checkpoint, ready to be asked.

    Raises:
        ConfigError: there is no checkpoint, or it is not one of this plan.
    """
    path = run.path / CHECKPOINT_FILE
    if not path.is_file():
        raise ConfigError(f"{run.path} has no {CHECKPOINT_FILE}; name a run that has trained")
    network = ResidualUNet(plan.network_config(legend.outputs))
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        network.load_state_dict(
            {
                name.removeprefix(_PREFIX): value
                for name, value in weights.items()
                if name.startswith(_PREFIX)
            }
        )
    except Exception as error:  # torch raises half a dozen unrelated types for a bad file
        raise ConfigError(
            f"{path} does not hold the network of {run.plan} ({type(error).__name__}); was one of "
            "them changed after the training?"
        ) from error
    return network.eval()
