"""The whole way once: train, serve, segment an image over HTTP. ``make demo`` runs it."""

import argparse
import logging
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from seg.commands import exit_status, path_named
from seg.verbs import called
from training.planning.command_line import DEFAULT_DATASET
from training.planning.flags import FLAGS, add_flags

log = logging.getLogger("training")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; 0 when a mask came back over HTTP."""
    parser = argparse.ArgumentParser(
        prog=called("training.demo"),
        description="The whole way once: train, serve, segment an image over HTTP.",
    )
    parser.add_argument(
        "--out", type=path_named, default=Path("runs/demo"), metavar="DIR",
        help="folder of the run; a finished demo there is replaced (default: runs/demo)",
    )  # fmt: skip
    parser.add_argument(
        "--data", type=path_named, metavar="PATH",
        help=f"dataset folder (default: {DEFAULT_DATASET}, fetched once)",
    )  # fmt: skip
    add_flags(parser.add_argument, "budget")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("training").setLevel(logging.INFO)
    logging.getLogger("data").setLevel(logging.INFO)
    return exit_status(
        partial(_run, options), log.error, "stopped; the same command goes on from here"
    )


def _run(options: argparse.Namespace) -> int:
    # torch, Lightning and MONAI take seconds: only what is asked for waits for them
    from training.pipeline.demonstration import demonstrate

    budget = {name: getattr(options, name) for name in FLAGS["budget"]}
    chosen = {name: value for name, value in budget.items() if value is not None}
    demonstrate(options.out, options.data, chosen)
    return 0


if __name__ == "__main__":
    sys.exit(main())
