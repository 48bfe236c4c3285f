"""How a package tells objects apart."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from seg.images import ClassInfo
from seg.inference import Backend, Predictor
from seg.inference.backends.golden import objects_of_patches
from seg.model_package import Instances, ModelCard, ModelPackage, ObjectRule, add_golden_objects
from training.dataset.tuning import tuning_split
from training.evaluation.object_tuning import tune_objects
from training.evaluation.split_tuning import fit_splitting
from training.run.job import TrainingJob
from training.run.plan import Plan
from training.samples.object_statistics import object_statistics, voxel_edge
from training.samples.object_targets import learns_borders, learns_depths

log = logging.getLogger("training")


def untuned(plan: Plan, classes: Sequence[ClassInfo]) -> Instances | None:
    """What a network that was trained so has channels for; None where it knows no objects."""
    channels: list[Literal["border", "distance"]] = []
    if learns_borders(plan):
        channels.append("border")
    if learns_depths(plan):
        channels.append("distance")
    if not channels:
        return None
    return Instances(
        encoding=channels[0],
        channels_for=tuple(channels),
        rules={info.name: ObjectRule() for info in classes[1:]},
    )


def with_objects(card: ModelCard, folder: Path, backend: Backend, job: TrainingJob) -> ModelCard:
    """The card with the rules by which objects are found, chosen on cases held back for that.

    Of a network that knows classes only: with values by which objects can be split by their shape.

    Args:
        card: of a package that is being written, with its golden samples.
        folder: of the package.
        backend: of its network.
        job: says what the network has learnt.

    Raises:
        DatasetError: a case cannot be read.
    """
    plan, dataset = job.plan, job.dataset
    if plan.instances == "none":
        predictor = Predictor(ModelPackage(folder, card), backend)
        return card.model_copy(
            update={"splitting": fit_splitting(predictor, dataset, dataset.train)}
        )
    learnt, tuned = tuning_split(dataset.train)
    halo = object_statistics(dataset, learnt).halo(voxel_edge(plan.spacing))
    predictor = Predictor(ModelPackage(folder, card), backend)
    instances = tune_objects(predictor, dataset, tuned, halo, are_learnt=learnt == tuned)
    log.info("objects   told apart by %s; %s", instances.encoding, instances.fitted_on)
    card = card.model_copy(update={"instances": instances})
    golden = ModelPackage(folder, card).golden()
    objects = objects_of_patches(golden.logits, card)
    return card.model_copy(update={"golden_sha256": add_golden_objects(folder, objects)})
