"""What a run has trained as a finished package: one network, or those of its folds."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from seg.model_package import ModelPackage, Postprocessing
from seg.networks import SegmentationNetwork
from training.evaluation.scores import Evaluation
from training.learning.gates import Pruned, pruned
from training.onnx_files.proof import FULL
from training.packaging.card import card_of, unwritten
from training.packaging.writer import Assess, Network, TorchNetwork, Written, write_networks
from training.run.job import TrainingJob
from training.samples.held_back import held_back_patches

GOLDEN_SAMPLES = 4


@dataclass(frozen=True)
class Finished:
    """A package on disk with its scores and how near its files are to the network."""

    package: ModelPackage
    evaluation: Evaluation
    error: float
    """Largest absolute error of a probability on the golden samples."""


@dataclass(frozen=True, eq=False)
class Member(Network):
    """One network of an ensemble, whose file a package of its own has."""

    network: SegmentationNetwork
    package: ModelPackage
    """With the scores on the cases that it has not seen."""

    def logits(
        self, patches: Float32[np.ndarray, "b c *patch"]
    ) -> Float32[np.ndarray, "b k *patch"]:
        """What the network says."""
        return TorchNetwork(self.network).logits(patches)

    def write(self, patches: Float32[np.ndarray, "b c *patch"], file: Path) -> None:
        """Copy the package's file."""
        shutil.copyfile(self.package.model_file(), file)


def write_package(
    network: SegmentationNetwork, job: TrainingJob, target: Path, assess: Assess
) -> Finished:
    """Export, prove, evaluate and write ``target``, whole or not at all.

    The scores in the card are those of the very file that will serve: ``assess`` is given a
    predictor of the exported package.

    Raises:
        BackendError: the exported network disagrees with the trained one.
    """
    small = pruned(network) if job.plan.compute_penalty else Pruned(network)
    variant = unwritten(FULL).model_copy(update={"blocks_dropped": small.removed})
    networks = {FULL: TorchNetwork(small.network.cpu().float())}
    return _finished(
        write_networks(networks, card_of(job, [variant]), _golden(job), target, job, assess)
    )


def write_ensemble(
    members: Mapping[str, Member],
    job: TrainingJob,
    target: Path,
    rules: Postprocessing,
    assess: Assess,
) -> Finished:
    """Put the members' ONNX files into one package, prove each and all of them, and score it.

    Args:
        members: by name; proven packages of one plan.
        job: of all folds.
        target: folder of the package, written whole or not at all.
        rules: what happens to labels after the networks.
        assess: scores a predictor of the whole package.

    Raises:
        BackendError: a file disagrees with the trained network.
    """
    variants = [
        member.package.card.variants[0].model_copy(update={"name": name, "file": f"{name}.onnx"})
        for name, member in members.items()
    ]
    card = card_of(job, variants).model_copy(
        update={"ensemble": tuple(members), "postprocessing": rules}
    )
    return _finished(write_networks(members, card, _golden(job), target, job, assess))


def _golden(job: TrainingJob) -> Float32[np.ndarray, "b c *patch"]:
    return held_back_patches(job.dataset, job.plan, GOLDEN_SAMPLES).images


def _finished(written: Written) -> Finished:
    assert written.evaluation is not None
    return Finished(written.package, written.evaluation, written.error)
