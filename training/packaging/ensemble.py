"""The networks of all folds as one package, whose probabilities are their mean.

Letters: ``b`` batch, ``c`` channels, ``k`` channels of logits.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from seg.errors import BackendError
from seg.files import sha256_of, written_whole
from seg.inference import EnsembleBackend, Predictor, load_backend
from seg.model_package import (
    GoldenSamples,
    ModelPackage,
    Postprocessing,
    Variant,
    write_card,
    write_golden,
)
from seg.networks import SegmentationNetwork
from training.evaluation.scores import Evaluation
from training.onnx_files.proof import Proof, milliseconds_per_patch, proven, reference_logits
from training.packaging.objects import with_objects
from training.packaging.package import GOLDEN_SAMPLES, Finished, card_of, scores_of
from training.run.job import TrainingJob
from training.samples.held_back import held_back_patches
from training.samples.object_targets import learnt_legend


@dataclass(frozen=True, eq=False)
class Member:
    """One network of the ensemble."""

    name: str
    network: SegmentationNetwork
    package: ModelPackage
    """Its own, with the scores on the cases that it has not seen."""


class Remembered:
    """A backend that says what a network has said to the golden patches."""

    provider = "torch"
    callers = 1

    def __init__(self, logits: Float32[np.ndarray, "b k *patch"]) -> None:
        self._logits = logits
        self.patch: tuple[int, ...] = logits.shape[2:]
        self.batch_size = len(logits)

    def run(self, patches: Float32[np.ndarray, "b c *patch"]) -> Float32[np.ndarray, "b k *patch"]:
        """What it said."""
        assert len(patches) == len(self._logits)
        return self._logits


def write_ensemble(
    members: Sequence[Member],
    job: TrainingJob,
    target: Path,
    rules: Postprocessing,
    assess: Callable[[Predictor], Evaluation],
) -> Finished:
    """Put the members' ONNX files into one package, prove each and all of them, and score it.

    Args:
        members: proven packages of one plan.
        job: of all folds.
        target: folder of the package, written whole or not at all.
        rules: what happens to labels after the networks.
        assess: scores a predictor of the whole package.

    Raises:
        BackendError: a file, or all together, disagree with the trained networks.
    """
    task = job.dataset.legend.task
    patches = held_back_patches(job.dataset, job.plan, GOLDEN_SAMPLES).images
    said = {member.name: reference_logits(member.network, patches) for member in members}
    votes = learnt_legend(job.dataset.legend, job.plan).outputs
    together = EnsembleBackend([Remembered(each) for each in said.values()], task, votes=votes).run(
        patches
    )
    with written_whole(target) as folder:
        errors = [
            _copied(member, folder, GoldenSamples(patches, said[member.name])) for member in members
        ]
        golden = write_golden(folder, GoldenSamples(patches, together), said)
        variants = [_variant(member, folder) for member in members]
        proof = Proof(variants[0], golden, max(errors))
        card = card_of(proof, job).model_copy(
            update={
                "variants": tuple(variants),
                "ensemble": tuple(member.name for member in members),
                "postprocessing": rules,
            }
        )
        card = with_objects(card, folder, load_backend(ModelPackage(folder, card)), job)
        write_card(folder, card)
        package = ModelPackage.load(folder)
        evaluation = assess(Predictor(package))
        timed = variants[0].model_copy(
            update={
                "milliseconds_per_patch": _milliseconds(package, patches),
                "measured_on": job.device.name,
            }
        )
        card = card.model_copy(
            update={
                "variants": (timed, *variants[1:]),
                "metrics": scores_of(evaluation),
                "quality": evaluation.quality,
            }
        )
        write_card(folder, card)
    return Finished(ModelPackage.load(target), evaluation, proof)


def _copied(member: Member, folder: Path, golden: GoldenSamples) -> float:
    file = folder / f"{member.name}.onnx"
    shutil.copyfile(member.package.model_file(), file)
    try:
        return proven(file, golden, member.package.card.task)
    except BackendError as error:
        raise BackendError(f"{member.name}: {error}") from error


def _variant(member: Member, folder: Path) -> Variant:
    file = folder / f"{member.name}.onnx"
    own = member.package.card.variants[0]
    return own.model_copy(
        update={"name": member.name, "file": file.name, "sha256": sha256_of(file)}
    )


def _milliseconds(package: ModelPackage, patches: Float32[np.ndarray, "b c *patch"]) -> float:
    first = load_backend(package, package.card.ensemble[0])
    return round(milliseconds_per_patch(first, patches), 3)
