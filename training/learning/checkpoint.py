"""The network that a run has trained, out of its checkpoint."""

from seg.errors import ConfigError
from seg.networks import ResidualUNet
from training.callbacks import CHECKPOINT_FILE
from training.dataset import Legend
from training.plan import Plan
from training.run_folder import RunFolder
from training.train import Trained, read_checkpoint

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
    network = ResidualUNet(plan.network_config(legend.outputs))
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ConfigError(
            f"{path} does not hold the network of {run.plan}; one of them was changed after the "
            "training"
        ) from error
    return Trained(network.eval(), saved.steps, saved.seconds)
