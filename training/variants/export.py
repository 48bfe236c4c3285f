"""The part of ``training.export`` that writes variants."""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from seg.errors import ConfigError
from seg.inference import Predictor
from seg.networks import SegmentationNetwork
from seg.verbs import called
from training.evaluation.scores import Evaluation
from training.learning.checkpoint import trained_in
from training.packaging.own_test import evaluate_test
from training.run.folder import RunFolder
from training.run.job import TrainingJob, job_in
from training.run.names import VariantPrecision
from training.variants.report import variants_table, write_variants_report
from training.variants.student import distilled
from training.variants.wishes import Wishes
from training.variants.write import write_variants

PRECISIONS_ON: Mapping[str, tuple[VariantPrecision, ...]] = {
    "cpu": ("float32", "int8"),
    "cuda": ("float32", "tf32", "float16"),
}
"""What is worth exporting for the device that the export runs on."""


def export_variants(
    run: RunFolder, job: TrainingJob, target: Path, options: argparse.Namespace
) -> list[str]:
    """Write the run's network in several variants, and say what they are worth.

    Raises:
        ConfigError: the run has no checkpoint, is one of several folds, or something else than a
            package was asked for.
        BackendError: an exported network disagrees with the one that it was made of.
    """
    if options.to != "package":
        raise ConfigError(f"variants are written into a package, not --to {options.to}")
    if job.plan.folds > 1 and job.plan.fold is None:
        raise ConfigError(
            f"variants are made of one network, {run.path} has {job.plan.folds}; name one of "
            f"them: {run.fold(0).path}"
        )
    trained = trained_in(run, job.plan, job.dataset.legend)
    network, job = trained.network, replace(job, steps=trained.steps)
    student = distilled(run, job, network, options.distil) if options.distil else None
    other = network_of(options.against) if options.against else None
    wishes = Wishes(
        precisions=tuple(options.precisions or PRECISIONS_ON[job.device.kind]),
        depths=options.depths,
        most_lost=options.most_lost,
    )

    def assess(predictor: Predictor) -> Evaluation:
        return evaluate_test(predictor, job, progress=False)

    elastic = write_variants(network, job, target, assess, wishes, student, other)
    write_variants_report(elastic, job)
    return [variants_table(elastic)]


def network_of(path: Path) -> SegmentationNetwork:
    """The network of another run.

    Raises:
        ConfigError: it has not trained.
    """
    run = RunFolder(path)
    job, _ = job_in(run, called("training.export", "--against"))
    return trained_in(run, job.plan, job.dataset.legend).network
