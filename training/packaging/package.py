"""From a trained network to a finished model package: golden samples, proof, scores, card.

Letters: ``b`` batch, ``c`` channels.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from seg.files import written_whole
from seg.images import ClassInfo
from seg.inference import OnnxBackend, Predictor
from seg.model_package import (
    InputSpec,
    IntensityStatistics,
    ModelCard,
    ModelPackage,
    Provenance,
    Score,
    TrainingFingerprint,
    write_card,
)
from seg.model_package.sides import sided_classes
from seg.networks import SegmentationNetwork
from seg.version import version_of
from training.dataset.cases import image_digest
from training.dataset.fingerprint import Fingerprint
from training.evaluation.scores import Evaluation
from training.learning.gates import Pruned, pruned
from training.onnx_files.proof import Proof, export_variant, milliseconds_per_patch
from training.packaging.objects import untuned, with_objects
from training.run.device import Device
from training.run.job import TrainingJob
from training.run.plan import Plan
from training.samples.held_back import held_back_patches

_Number = TypeVar("_Number", int, float)


GOLDEN_SAMPLES = 4


LIBRARIES = ("seg", "torch", "monai", "lightning", "albumentations", "onnx", "onnxruntime-gpu")


@dataclass(frozen=True)
class Finished:
    """A package on disk with its scores and its proof."""

    package: ModelPackage
    evaluation: Evaluation
    proof: Proof


def write_package(
    network: SegmentationNetwork,
    job: TrainingJob,
    target: Path,
    assess: Callable[[Predictor], Evaluation],
) -> Finished:
    """Export, prove, evaluate and write ``target``, whole or not at all.

    The scores in the card are those of the very file that will serve: ``assess`` is given a
    predictor of the exported package.

    Raises:
        BackendError: the exported network disagrees with the trained one.
    """
    patches = held_back_patches(job.dataset, job.plan, GOLDEN_SAMPLES).images
    small = pruned(network) if job.plan.compute_penalty else Pruned(network)
    with written_whole(target) as folder:
        proof = export_variant(small.network, patches, folder, job.dataset.legend.task)
        proof = replace(
            proof, variant=proof.variant.model_copy(update={"blocks_dropped": small.removed})
        )
        card = card_of(proof, job)
        backend = OnnxBackend(folder / proof.variant.file)
        card = with_objects(card, folder, backend, job)
        write_card(folder, card)
        evaluation = assess(Predictor(ModelPackage.load(folder), backend))
        card = _scored(card, evaluation, milliseconds_per_patch(backend, patches), job.device)
        write_card(folder, card)
    return Finished(ModelPackage.load(target), evaluation, proof)


def card_of(proof: Proof, job: TrainingJob) -> ModelCard:
    """The card of a package with one variant, before it is scored."""
    plan, dataset = job.plan, job.dataset
    fingerprint = job.fingerprint.turned(plan.orientation)
    now = datetime.now(UTC)
    spacings = fingerprint.spacings
    return ModelCard(
        name=dataset.name,
        version=now.strftime("%Y%m%d.%H%M%S"),
        task=dataset.legend.task,
        classes=dataset.classes,
        input=InputSpec(
            channels=dataset.channels,
            patch=plan.patch,
            overlap=plan.overlap,
            preprocessing=plan.preprocessing,
            empty=plan.empty,
            mirror_axes=_mirrors(plan, dataset.classes),
            orientation=plan.orientation,
            left_right_axis=plan.left_right_axis,
        ),
        instances=untuned(plan, dataset.classes),
        variants=(proof.variant,),
        golden_sha256=proof.golden_sha256,
        fingerprint=TrainingFingerprint(
            cases=fingerprint.cases,
            shape=_ranges(fingerprint.shapes),
            spacing=_ranges(spacings) if spacings else None,
            intensity=tuple(channel.range for channel in fingerprint.channels),
            statistics=_statistics_of(fingerprint),
        ),
        provenance=Provenance(
            created=now.isoformat(timespec="seconds"),
            seed=plan.seed,
            dataset=dataset.name,
            dataset_sha256=dataset.sha256(),
            trained_on=tuple(sorted(image_digest(case) for case in dataset.train)),
            command=job.command,
            versions=versions_of(LIBRARIES),
            steps=job.steps,
            expected_steps=plan.expected_steps,
        ),
        licence=dataset.licence,
    )


def _statistics_of(fingerprint: Fingerprint) -> tuple[IntensityStatistics, ...] | None:
    if not all(channel.images for channel in fingerprint.channels):
        return None
    found = []
    for channel in fingerprint.channels:
        shares = [each.noise / each.deviation if each.deviation else 0.0 for each in channel.images]
        means, deviations = (
            [getattr(each, name) for each in channel.images] for name in ("mean", "deviation")
        )
        mean, deviation, share = ((min(x), max(x)) for x in (means, deviations, shares))
        found.append(IntensityStatistics(mean=mean, deviation=deviation, noise_share=share))
    return tuple(found)


def _mirrors(plan: Plan, classes: Sequence[ClassInfo]) -> tuple[int, ...] | None:
    """What may be mirrored when it predicts: never left and right, however it was trained."""
    names = [info.name for info in classes[1:]]
    if not sided_classes(names):
        return plan.mirror_axes
    return tuple(axis for axis in plan.mirrored_axes(names) if axis != plan.between_sides)


def _ranges(rows: Sequence[tuple[_Number, ...]]) -> tuple[tuple[_Number, _Number], ...]:
    return tuple((min(axis), max(axis)) for axis in zip(*rows, strict=True))


def _scored(
    card: ModelCard, evaluation: Evaluation, milliseconds: float, device: Device
) -> ModelCard:
    scores = scores_of(evaluation)
    variant = card.variants[0].model_copy(
        update={
            "dice": scores,
            "milliseconds_per_patch": round(milliseconds, 3),
            "measured_on": device.name,
        }
    )
    return card.model_copy(
        update={"metrics": scores, "variants": (variant,), "quality": evaluation.quality}
    )


def scores_of(evaluation: Evaluation) -> dict[str, Score]:
    """Mean Dice as a card has it, of the classes that count in a case."""
    return {
        name: Score(dice=each.dice, ci95=each.ci95, cases=each.cases)
        for name, each in evaluation.summary.items()
        if each.dice is not None and each.ci95 is not None
    }


def versions_of(libraries: Iterable[str]) -> dict[str, str]:
    """Of those that are installed, for a card."""
    versions = {name: version_of(name) for name in libraries}
    return {name: version for name, version in versions.items() if version != "unknown"}
