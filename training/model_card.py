"""A model card for people: ``python -m training.model_card PACKAGE``.

What ``model.json`` knows is filled in, what only people know is marked. ``training.fit`` writes
one beside its report.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from seg.commands import exit_status, path_named
from seg.verbs import called
from training.run.folder import RunFolder

FILE = RunFolder(Path()).model_card.name


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 2 where there is no package."""
    parser = argparse.ArgumentParser(
        prog=called("training.model_card"),
        description=(
            "A model card for people. What model.json knows is filled in, what only people know "
            "is marked. Each fit writes one beside its report."
        ),
    )
    parser.add_argument(
        "package", type=path_named, metavar="PACKAGE", help="folder with model.json"
    )
    parser.add_argument(
        "--out", type=path_named, metavar="FILE", help=f"default: {FILE} beside PACKAGE"
    )
    options = parser.parse_args(arguments)
    target: Path = options.out or options.package.resolve().parent / FILE
    return exit_status(lambda: _write(options.package, target))


def _write(package: Path, target: Path) -> int:
    # readers of images take a second: only what is asked for waits for them
    from seg.model_package import ModelPackage
    from training.reports.model_card import write_model_card

    write_model_card(ModelPackage.load(package).card, target)
    sys.stdout.write(f"{target}: fill in what is marked TO FILL\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
