"""The whole way once: train, serve, segment an image over HTTP. ``make demo`` runs it."""

import argparse
import logging
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from seg.commands import count, exit_status, path_named, positive
from seg.verbs import called

log = logging.getLogger("training")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; 0 when a mask came back over HTTP."""
    parser = argparse.ArgumentParser(
        prog=called("training.demo"),
        description="The whole way once: train, serve, segment an image over HTTP.",
    )
    parser.add_argument(
        "--out", type=path_named, default=Path("runs/demo"), metavar="DIR", help="of the run"
    )
    parser.add_argument(
        "--data", type=path_named, metavar="PATH", help="dataset folder (default: fetched once)"
    )
    parser.add_argument("--minutes", type=positive, metavar="M", help="when training ends")
    parser.add_argument("--steps", type=count, metavar="N", help="in place of minutes")
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

    chosen = {"minutes": options.minutes, "steps": options.steps}
    given = {key: value for key, value in chosen.items() if value is not None}
    demonstrate(options.out, options.data, given)
    return 0


if __name__ == "__main__":
    sys.exit(main())
