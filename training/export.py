"""A run that has trained, or a package, to other files: ``python -m training.export RUN -o DIR``.

``training.fit`` writes the package itself; this does it again, e.g. from the checkpoint of a run
that was stopped, or writes what other software reads.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from seg.commands import exit_status
from seg.errors import ConfigError
from seg.inference import Predictor
from seg.model_package import CARD_FILE, ModelPackage
from training.bundle import Facts, write_bundle
from training.checkpoint import trained_in
from training.cross_validation import package_folds
from training.elastic.command import add_variant_options, export_variants
from training.evaluate import Evaluation, evaluate, summary_table
from training.job import job_in
from training.leave import leave_for_monai, leave_for_torch
from training.leave_nnunet import leave_for_nnunet
from training.package import Finished, Job, write_package
from training.run_folder import RunFolder

TARGETS = ("package", "monai", "nnunet", "torch")


def export_package(run: RunFolder, job: Job, target: Path) -> Finished:
    """Write the run's network, or those of its folds, as a proven and scored package.

    Raises:
        ConfigError: the run has no checkpoint, or the target is the run's own folder.
        BackendError: the exported network disagrees with the trained one.
    """
    if job.plan.folds > 1 and job.plan.fold is None:
        folds = [run.fold(number) for number in range(job.plan.folds)]
        return package_folds(job, run, folds, target)[0]
    trained = trained_in(run, job.plan, job.dataset.legend)

    def assess(predictor: Predictor) -> Evaluation:
        return evaluate(predictor, job.dataset, job.dataset.test)

    return write_package(trained.network, job, target, assess)


def export_bundle(run: RunFolder, job: Job, target: Path) -> None:
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
    write_bundle(network, Facts.of_job(job), target)


def run_of(path: Path) -> RunFolder:
    """The run that a path names: its folder, or a checkpoint in it."""
    return RunFolder(path.parent if path.is_file() else path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 where all went well, 2 where a user must repair something."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments)
    command = shlex.join(["python", "-m", "training.export", *arguments])
    return exit_status(partial(_run, options, command))


def _run(options: argparse.Namespace, command: str) -> int:
    if options.target.exists() and any(options.target.iterdir()):
        raise ConfigError(f"{options.target} is not empty; name another folder with -o")
    if (options.run / CARD_FILE).is_file():
        lines = _of_package(ModelPackage.load(options.run), options.to, options.target)
    elif options.variants:
        run = run_of(options.run)
        lines = export_variants(run, job_in(run, command)[0], options.target, options)
    else:
        lines = _of_run(run_of(options.run), options.to, options.target, command)
    for line in lines:
        print(line)  # noqa: T201
    print(f"written to {options.target}")  # noqa: T201
    return 0


def _of_run(run: RunFolder, to: str, target: Path, command: str) -> list[str]:
    if to in ("nnunet", "torch"):
        if not run.package.is_dir():
            raise ConfigError(
                f"{run.path} has no package yet; export one first, then export it with --to {to}"
            )
        return _of_package(ModelPackage.load(run.package), to, target)
    job, _ = job_in(run, command)
    if to == "monai":
        export_bundle(run, job, target)
        return []
    finished = export_package(run, job, target)
    proof = f"ONNX and network agree to {finished.proof.error:.1e}"
    return [summary_table(finished.evaluation), proof]


def _of_package(package: ModelPackage, to: str, target: Path) -> list[str]:
    if to == "package":
        raise ConfigError(f"{package.path} is a package already; say with --to for what software")
    if to == "nnunet":
        return leave_for_nnunet(package, target)
    (leave_for_monai if to == "monai" else leave_for_torch)(package, target)
    return []


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.export",
        description="Export the network of a run, or of a package, also for other software.",
    )
    add = parser.add_argument
    add("run", type=Path, metavar="RUN",
        help="folder of a run, the checkpoint in it, or a package")  # fmt: skip
    add("-o", "--out", dest="target", type=Path, required=True, metavar="DIR", help="new folder")
    add("--to", choices=TARGETS, default="package",
        help="package: float32 ONNX with proof and scores; monai: a MONAI bundle; nnunet: a "
             "results folder; torch: programs of torch.export, and safetensors")  # fmt: skip
    add_variant_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
