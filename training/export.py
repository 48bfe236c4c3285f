"""A run that has trained to a package, or to a bundle: ``python -m training.export RUN -o DIR``.

``training.fit`` writes the package itself; this does it again, e.g. from the checkpoint of a run
that was stopped, or for other tools.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from seg.errors import ConfigError, SegError
from seg.inference import Predictor
from training.bundle import write_bundle
from training.checkpoint import trained_in
from training.cross_validation import package_folds
from training.evaluate import Evaluation, evaluate, summary_table
from training.job import job_in
from training.package import Finished, Job, write_package
from training.run_folder import RunFolder

TARGETS = ("package", "monai")


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
    write_bundle(trained_in(run, job.plan, job.dataset.legend).network, job, target)


def run_of(path: Path) -> RunFolder:
    """The run that a path names: its folder, or a checkpoint in it."""
    return RunFolder(path.parent if path.is_file() else path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 where all went well, 2 where a user must repair something."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments)
    command = shlex.join(["python", "-m", "training.export", *arguments])
    try:
        run = run_of(options.run)
        job, _ = job_in(run, command)
        if options.target.exists() and any(options.target.iterdir()):
            raise ConfigError(f"{options.target} is not empty; name another folder with -o")
        if options.to == "monai":
            export_bundle(run, job, options.target)
        else:
            finished = export_package(run, job, options.target)
            print(summary_table(finished.evaluation))  # noqa: T201
            print(f"ONNX and network agree to {finished.proof.error:.1e}")  # noqa: T201
    except SegError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except OSError as error:
        print(f"error: {error.filename or 'a file'}: {error.strerror}", file=sys.stderr)  # noqa: T201
        return 2
    print(f"written to {options.target}")  # noqa: T201
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.export",
        description="Export the network of a run, proven against the network that was trained.",
    )
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="folder of a run, or the checkpoint in it")
    add("-o", "--out", dest="target", type=Path, required=True, metavar="DIR", help="new folder")
    add("--to", choices=TARGETS, default="package",
        help="package: float32 ONNX with proof and scores; monai: a MONAI bundle")  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
