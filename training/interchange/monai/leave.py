"""A package as a MONAI bundle, and its network for MONAI alone."""

from pathlib import Path

from seg.errors import ConfigError
from seg.model_package import ModelPackage
from seg.networks import ResidualUNet
from training.interchange.monai.bundle import Facts, write_bundle
from training.learning.checkpoint import trained_in
from training.onnx_files.read_back import own_network_in
from training.run.folder import RunFolder
from training.run.job import TrainingJob


def export_bundle(run: RunFolder, job: TrainingJob, target: Path) -> None:
    """Write the run's network as a MONAI bundle.

    Raises:
        ConfigError: the run has no checkpoint, or is one of several folds.
    """
    if job.plan.folds > 1 and job.plan.fold is None:
        raise ConfigError(
            f"a MONAI bundle holds one network, {run.path} has {job.plan.folds}; export one of "
            f"them: {run.fold(0).path}"
        )
    network = trained_in(run, job.plan, job.dataset.legend).network
    if not isinstance(network, ResidualUNet):
        raise ConfigError(
            f"a MONAI bundle is written of seg's own networks, {run.path} has {job.plan.network}; "
            "give its ONNX file"
        )
    write_bundle(network, Facts.of_job(job), target)


def leave_for_monai(package: ModelPackage, target: Path) -> None:
    """Write a MONAI bundle.

    Raises:
        ConfigError: the package holds several networks, or none that torch could go on with.
    """
    members = package.card.members()
    if len(members) > 1:
        raise ConfigError(
            f"a MONAI bundle holds one network, {package.path} has {len(members)}; use --to torch, "
            "which takes all"
        )
    write_bundle(own_network_in(package, members[0]), Facts.of_card(package.card), target)
