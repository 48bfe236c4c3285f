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
from seg.model_package import CARD_FILE, ModelPackage
from training.evaluation.score_files import summary_table
from training.interchange.monai.leave import export_bundle, leave_for_monai
from training.interchange.nnunet.leave import leave_for_nnunet
from training.interchange.torch_program import leave_for_torch
from training.pipeline.exporting import export_package
from training.run.folder import RunFolder, run_of
from training.run.job import job_in
from training.variants.export import add_variant_options, export_variants

TARGETS = ("package", "monai", "nnunet", "torch")


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
