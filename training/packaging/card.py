"""What a run knows of a package, as its card says it."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from seg.images import ClassInfo
from seg.model_package import (
    InputSpec,
    IntensityStatistics,
    ModelCard,
    Pretraining,
    Provenance,
    Score,
    TrainingFingerprint,
    Variant,
)
from seg.model_package.sides import sided_classes
from seg.networks.foreign.names import encoder_of, is_foreign
from seg.networks.foreign.origin import origin_of
from seg.networks.foreign.weights_file import hash_of
from seg.version import version_of
from training.dataset.cases import image_digest
from training.dataset.fingerprint import Fingerprint
from training.evaluation.scores import Evaluation
from training.packaging.objects import untuned
from training.packaging.standing import standing_out
from training.run.job import TrainingJob
from training.run.plan import Plan

_Number = TypeVar("_Number", int, float)

LIBRARIES = ("seg", "torch", "monai", "lightning", "albumentations", "onnx", "onnxruntime-gpu")
UNWRITTEN = ""
"""In place of a hash, until the file is there."""


def unwritten(name: str) -> Variant:
    """A variant of which nothing is known but its name."""
    return Variant(name=name, file=f"{name}.onnx", sha256=UNWRITTEN)


def card_of(job: TrainingJob, variants: Sequence[Variant]) -> ModelCard:
    """The card of a package of these variants, before they are written and scored."""
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
            overlap=plan.usual_overlap,
            preprocessing=plan.preprocessing,
            empty=plan.empty,
            stands_out=standing_out(dataset, plan),
            mirror_axes=_mirrors(plan, dataset.classes),
            orientation=plan.orientation,
            left_right_axis=plan.left_right_axis,
        ),
        instances=untuned(plan, dataset.classes),
        variants=tuple(variants),
        golden_sha256=UNWRITTEN,
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
            trained_contents=tuple(
                sorted(
                    fingerprint.contents[case.name]
                    for case in dataset.train
                    if case.name in fingerprint.contents
                )
            ),
            command=job.command,
            versions=versions_of(LIBRARIES),
            steps=job.steps,
            expected_steps=plan.expected_steps,
            pretraining=pretraining_of(plan),
        ),
        licence=dataset.licence,
    )


def pretraining_of(plan: Plan) -> Pretraining | None:
    """Where the encoder's weights are from; a file by its name and hash, never by its place."""
    encoder = encoder_of(plan.network) if is_foreign(plan.network) else None
    if encoder is None or plan.weights is None:
        return None
    origin = origin_of(encoder, plan.weights)
    return Pretraining(
        encoder=encoder,
        weights=Path(plan.weights).name,
        sha256=plan.weights_sha256 or hash_of(plan.weights),
        source=origin.source,
        licence=origin.licence,
    )


def _statistics_of(fingerprint: Fingerprint) -> tuple[IntensityStatistics, ...] | None:
    if not all(channel.images for channel in fingerprint.channels):
        return None
    statistics = []
    for channel in fingerprint.channels:
        shares = [
            image.noise / image.deviation if image.deviation else 0.0 for image in channel.images
        ]
        means, deviations = (
            [getattr(image, name) for image in channel.images] for name in ("mean", "deviation")
        )
        mean, deviation, share = ((min(x), max(x)) for x in (means, deviations, shares))
        statistics.append(IntensityStatistics(mean=mean, deviation=deviation, noise_share=share))
    return tuple(statistics)


def _mirrors(plan: Plan, classes: Sequence[ClassInfo]) -> tuple[int, ...] | None:
    """What may be mirrored when it predicts: never left and right, however it was trained."""
    names = [info.name for info in classes[1:]]
    if not sided_classes(names):
        return plan.mirror_axes
    return tuple(axis for axis in plan.mirrored_axes(names) if axis != plan.between_sides)


def _ranges(rows: Sequence[tuple[_Number, ...]]) -> tuple[tuple[_Number, _Number], ...]:
    return tuple((min(axis), max(axis)) for axis in zip(*rows, strict=True))


def scores_of(evaluation: Evaluation) -> dict[str, Score]:
    """Mean Dice as a card has it, of the classes that count in a case."""
    return {
        name: Score(dice=each.dice, ci95=each.interval, cases=each.cases)
        for name, each in evaluation.summary.items()
        if each.dice is not None
    }


def versions_of(libraries: Iterable[str]) -> dict[str, str]:
    """Of those that are installed, for a card."""
    versions = {name: version_of(name) for name in libraries}
    return {name: version for name, version in versions.items() if version != "unknown"}
