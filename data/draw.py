"""Draw files to try a tutorial with: ``python -m data.draw KIND [FOLDER]``.

They look like what people have, and show nothing real: pictures of cells, CT volumes, a DICOM
series, volumes of two channels.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from seg.commands import exit_status, path_named
from seg.verbs import called

KINDS = {
    "cells": "Pictures of cells with masks, and new ones without.",
    "ct": "CT volumes with masks in NIfTI, and new ones without.",
    "dicom": "A CT series of a patient, a file a slice.",
    "brain": "A dataset of two channels, and new volumes: a file a channel, and both in one.",
}
"""What each shows."""

log = logging.getLogger("data.draw")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 when the files are there, 2 when they cannot be."""
    parser = argparse.ArgumentParser(
        prog=called("data.draw"),
        description=(
            "Draw files to try a tutorial with. They look like what people have, and show nothing "
            "real."
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(f"  {kind:6} {shows}" for kind, shows in KINDS.items()),
    )
    parser.add_argument("kind", choices=KINDS, metavar="KIND", help="one of those below")
    parser.add_argument(
        "folder", type=path_named, nargs="?", default=Path(), metavar="FOLDER", help="default: here"
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    return exit_status(partial(_run, options), log.error)


def _run(options: argparse.Namespace) -> int:
    # readers of images and SciPy take seconds: only what is asked for waits for them
    from data.tutorial_files import draw_into

    for path in draw_into(options.folder, options.kind):
        log.info("drawn: %s", path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
