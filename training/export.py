"""A run that has trained, or a package, to other files: ``python -m training.export RUN -o DIR``.

``training.fit`` writes the package itself; this does it again, e.g. from the checkpoint of a run
that was stopped, or writes what other software reads.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial

from seg.commands import add_target, exit_status, path_named
from seg.errors import ConfigError
from seg.verbs import called
from training.variants.wishes import add_variant_options

TARGETS = ("package", "monai", "nnunet", "torch", "bioimageio", "huggingface")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 where all went well, 2 where a user must repair something."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments)
    command = called("training.export", *arguments)
    return exit_status(partial(_run, options, command))


def _run(options: argparse.Namespace, command: str) -> int:
    # torch, Lightning and MONAI take seconds: only what is asked for waits for them
    from seg.held_folders import new_folder

    _check_example(options)
    _check_cases(options)
    with new_folder(options.target):
        lines = _export(options, command)
    for line in lines:
        print(line)  # noqa: T201
    print(f"written to {options.target}")  # noqa: T201
    return 0


def _export(options: argparse.Namespace, command: str) -> list[str]:
    """Write it, and say what was proven."""
    from seg.model_package import CARD_FILE, ModelPackage, add_example
    from training.pipeline.exporting import copy_package, export_run, leave_package
    from training.run.folder import run_of
    from training.run.job import job_in
    from training.variants.export import export_variants

    if (options.run / CARD_FILE).is_file() and options.example:
        lines = copy_package(ModelPackage.load(options.run), options.target)
    elif (options.run / CARD_FILE).is_file():
        lines = leave_package(ModelPackage.load(options.run), options.to, options.target)
    elif options.variants:
        run = run_of(options.run)
        lines = export_variants(run, job_in(run, command)[0], options.target, options)
    else:
        lines = export_run(
            run_of(options.run), options.to, options.target, command, show_cases=options.show_cases
        )
    if options.example:
        add_example(options.target, options.example, options.about)
    return lines


def _check_example(options: argparse.Namespace) -> None:
    """Find out now what would be found out after minutes."""
    if options.about and not options.example:
        raise ConfigError("--about tells of an example; name its files with --example")
    if options.example and options.to != "package":
        raise ConfigError("an example lies in a package; leave --to out")
    for file in options.example:
        if not file.is_file():
            raise ConfigError(f"an example is a file that a browser can send; {file} is none")


def _check_cases(options: argparse.Namespace) -> None:
    from seg.model_package import CARD_FILE

    if not options.show_cases:
        return
    if options.to != "package" or options.variants:
        raise ConfigError(
            "--show-cases draws into a package of one network; leave --to and --variants out"
        )
    if (options.run / CARD_FILE).is_file():
        raise ConfigError(f"--show-cases needs the images; name the run that {options.run} is of")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=called("training.export"),
        description="Export the network of a run, or of a package, also for other software.",
    )
    add = parser.add_argument
    add("run", type=path_named, metavar="RUN",
        help="folder of a run, the checkpoint in it, or a package")  # fmt: skip
    add_target(parser)
    add("--to", choices=TARGETS, default="package",
        help="package: float32 ONNX with proof and scores; monai: a MONAI bundle; nnunet: a "
             "results folder; torch: programs of torch.export, and safetensors; bioimageio: a "
             "model of the BioImage Model Zoo; huggingface: a repository of the hub, which "
             "is not uploaded")  # fmt: skip
    add("--example", nargs="+", type=path_named, default=[], metavar="FILE",
        help="an image that everybody may see, which the web page offers to try: one file, or one "
             "a channel; of a package, DIR becomes a copy with it")  # fmt: skip
    add("--about", default="", metavar="TEXT",
        help="what the example shows, where it is from, and its licence")  # fmt: skip
    add("--show-cases", action="store_true",
        help="let everybody who can open the model's page see the best, the median and the worst "
             "test image, with reference and prediction; for images that everybody may "
             "see")  # fmt: skip
    add_variant_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
