"""``python -m seg.model_package PACKAGE``: take a ``model.json`` that people have changed.

Licence and intended use are theirs to fill in. The card is checked, and its hash written anew.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from seg.commands import exit_status, path_named
from seg.verbs import called


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog=called("seg.model_package"),
        description=(
            "Take a model.json that people have changed: licence and intended use are theirs to "
            "fill in. It is checked, and its hash written anew."
        ),
    )
    parser.add_argument(
        "package", type=path_named, metavar="PACKAGE", help="folder with model.json"
    )
    options = parser.parse_args(arguments)
    return exit_status(lambda: _accept(options.package))


def _accept(folder: Path) -> int:
    # readers of images take a second: only what is asked for waits for them
    from seg.model_package.folder import accept_card

    card = accept_card(folder)
    sys.stdout.write(f"{card.name}:{card.version} is taken as it is\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
