"""Which images to annotate next: ``python -m training.rank FOLDER --package PACKAGE``."""

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial

from seg.commands import exit_status, path_named, positive
from seg.files import replace_file
from seg.names import PROVIDERS
from seg.verbs import called


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 when images are ranked, 2 when they cannot be."""
    return exit_status(partial(_run, _parser().parse_args(arguments)))


def _run(options: argparse.Namespace) -> int:
    # readers of images and onnxruntime take seconds: only what is asked for waits for them
    from training.evaluation.trust.ranking import as_rows, as_table, rank

    order = rank(options.path, options.package, options.minutes, options.provider)
    print(as_table(order))  # noqa: T201
    if options.json:
        replace_file(options.json, (json.dumps(as_rows(order), indent=2) + "\n").encode())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=called("training.rank"),
        description="Images of a folder without a mask, in the order in which annotating them is "
        "worth most: those that the package is expected to do badly first, and no two alike.",
    )
    add = parser.add_argument
    add("path", type=path_named, metavar="FOLDER", help="dataset with images/ and masks/")
    add(
        "--package",
        type=path_named,
        required=True,
        metavar="PACKAGE",
        help="model package that looks at them",
    )
    add("--minutes", type=positive, metavar="M", help="of a person: list what they suffice for")
    add("--json", type=path_named, metavar="FILE", help="the same as JSON")
    add(
        "--provider",
        choices=PROVIDERS,
        default="auto",
        help="where the network runs (default: auto)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
