"""The part of ``training.export`` that writes variants."""

import argparse
import math
from collections.abc import Mapping
from pathlib import Path

from seg.errors import ConfigError
from seg.inference import Predictor
from seg.networks import ResidualUNet
from training.evaluation.evaluator import evaluate
from training.evaluation.scores import Evaluation
from training.learning.checkpoint import trained_in
from training.run.folder import RunFolder
from training.run.job import TrainingJob, job_in
from training.variants.make import PRECISIONS, Precision
from training.variants.report import variants_table, write_variants_report
from training.variants.student import distilled
from training.variants.write import Wishes, write_variants

PRECISIONS_ON: Mapping[str, tuple[Precision, ...]] = {
    "cpu": ("float32", "int8"),
    "cuda": ("float32", "float16"),
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
    network = trained_in(run, job.plan, job.dataset.legend).network
    student = distilled(run, job, network, options.distil) if options.distil else None
    other = network_of(options.against) if options.against else None
    wishes = Wishes(
        precisions=tuple(options.precisions or PRECISIONS_ON[job.device.kind]),
        depths=options.depths,
        most_lost=options.most_lost,
    )

    def assess(predictor: Predictor) -> Evaluation:
        return evaluate(predictor, job.dataset, job.dataset.test, progress=False)

    elastic = write_variants(network, job, target, assess, wishes, student, other)
    write_variants_report(elastic, job)
    return [variants_table(elastic)]


def network_of(path: Path) -> ResidualUNet:
    """The network of another run.

    Raises:
        ConfigError: it has not trained.
    """
    run = RunFolder(path)
    job, _ = job_in(run, "training.export --against")
    return trained_in(run, job.plan, job.dataset.legend).network


def add_variant_options(parser: argparse.ArgumentParser) -> None:
    """Options of the command line."""
    add = parser.add_argument_group("variants, faster ones for a service under load").add_argument
    add("--variants", action="store_true",
        help="write shallower and int8 networks as well, each with its own Dice and time; those "
             "that another one beats in both are left out")  # fmt: skip
    add("--distil", type=_positive, metavar="MINUTES",
        help="train a small network to say what the large one says, as their rival")  # fmt: skip
    add("--against", type=Path, metavar="RUN",
        help="another run on the same data, e.g. without --elastic: the report shows what dropping "
             "blocks costs there")  # fmt: skip
    add("--precisions", nargs="+", choices=PRECISIONS,
        help="default: float32 and int8 on a CPU, float32 and float16 on a GPU")  # fmt: skip
    add("--depths", type=int, default=Wishes.depths, metavar="N",
        help=f"networks without blocks that are looked at (default: {Wishes.depths})")  # fmt: skip
    add("--most-lost", type=_positive, default=Wishes.most_lost, metavar="DICE",
        help="mean Dice that a variant may lose against the whole network (default: "
             f"{Wishes.most_lost})")  # fmt: skip


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError("must be above 0 and finite")
    return number
