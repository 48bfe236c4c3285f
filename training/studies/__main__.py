"""``python -m training.studies depth``: run a study; a CSV, pictures and a paragraph in --out."""

import argparse
import logging
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from seg.commands import exit_status, path_named
from seg.verbs import called
from training.planning.command_line import DEFAULT_DATASET
from training.studies.questions import QUESTIONS, Question, check_shortcuts

log = logging.getLogger("training")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 when done, 2 when it cannot be, 130 when stopped."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    log.setLevel(logging.INFO)
    return exit_status(
        partial(_run, options), log.error, "stopped; the same command goes on with it"
    )


def _run(options: argparse.Namespace) -> int:
    check_shortcuts(options.shortcuts or ())
    # torch and matplotlib take seconds: only what is asked for waits for them
    from training.studies.carried_out import STUDIES, run, setting_from

    study = STUDIES[options.study]
    folder = options.out or Path("runs") / f"study-{study.name}"
    run(study, setting_from(study, options), folder)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=called("training.studies"),
        description="What shortcuts do, measured and drawn. Minutes on two cores.",
    )
    studies = parser.add_subparsers(dest="study", required=True, metavar="STUDY")
    for name, question in QUESTIONS.items():
        defaults = ", ".join(
            f"{key} {' '.join(map(str, value)) if isinstance(value, tuple) else value}"
            for key, value in question.setting.items()
        )
        text = f"{question.text}; by default {defaults}"
        _add_options(studies.add_parser(name, help=question.text, description=text), question)
    return parser


def _add_options(parser: argparse.ArgumentParser, question: Question) -> None:
    add = parser.add_argument
    add("--data", type=path_named, metavar="PATH",
        help=f"folder of a dataset (default: {DEFAULT_DATASET}, fetched once)")  # fmt: skip
    add("--out", type=path_named, metavar="DIR",
        help="where to write, or what to go on with (default: runs/study-NAME)")  # fmt: skip
    add("--shortcuts", nargs="+", metavar="NAME", help="to compare")
    if "layers" not in question.fixed:
        add(
            "--layers",
            type=int,
            nargs="+",
            metavar="N",
            help="convolutions of the encoder: 1 + 4n",
        )
    add("--seeds", type=int, metavar="N", help="trainings of each network (default: 3)")
    add("--steps", type=int, metavar="N", help="of each training")
    add(
        "--batch-size",
        type=int,
        metavar="N",
        help="patches a step (default: 8 where it is not told above)",
    )
    add(
        "--edge",
        type=int,
        metavar="N",
        help="of a patch, in voxels (default: 64 where it is not told above)",
    )
    if "features" not in question.fixed:
        add("--features", type=int, metavar="N", help="of the first stage (default: 16)")
    add("--learning-rate", type=float, metavar="X", help="at its highest (default: 0.05)")


if __name__ == "__main__":
    sys.exit(main())
