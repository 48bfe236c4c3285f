"""Train a package on with what people corrected: ``python -m training.improve FOLDER --from P``.

Both packages are compared on held-back images that neither has learned from; the new one is
proposed where it is better.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from functools import partial

from seg.commands import exit_status, path_named, positive
from seg.verbs import called

log = logging.getLogger("training")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 when both are compared, 2 when they cannot be."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    log.setLevel(logging.INFO)
    return exit_status(partial(_run, options), log.error)


def _run(options: argparse.Namespace) -> int:
    # torch, Lightning and MONAI take seconds: only what is asked for waits for them
    from training.pipeline.improving import REPORT, improve

    proposal = improve(
        options.path, options.start, options.out, options.minutes, steps=options.steps
    )
    print(f"{proposal.after}: {proposal.says}")  # noqa: T201
    if proposal.package:
        print(f"proposed  {options.out / proposal.package}")  # noqa: T201
    print(f"report    {options.out / REPORT}")  # noqa: T201
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=called("training.improve"),
        description="Train a package on with all labels of a folder, old and new, and compare both "
        "on its held-back images: the new one is proposed where a paired test says that it is "
        "better.",
    )
    add = parser.add_argument
    add(
        "path",
        type=path_named,
        metavar="FOLDER",
        help="dataset in which people draw, such as a studio's",
    )
    add(
        "--from",
        dest="start",
        type=path_named,
        required=True,
        metavar="PACKAGE",
        help="to begin with",
    )
    add("--minutes", type=positive, default=5.0, metavar="M", help="of training (default: 5)")
    add("--steps", type=_whole, metavar="N", help="a fixed number of steps in place of minutes")
    add("--out", type=path_named, required=True, metavar="DIR",
        help="new folder: proposal.json, report.md, comparison.json, run/")  # fmt: skip
    return parser


def _whole(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("steps are 1 or more")
    return number


if __name__ == "__main__":
    sys.exit(main())
