"""A sheet of augmented samples: ``python -m training.augment PATH --show``.

A row is a patch as it is and with its labels, then as a training would see it, again and again.
"""

import argparse
import webbrowser
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import get_args

from seg.commands import exit_status, path_named
from seg.files import replace_file
from seg.verbs import called
from training.planning.flags import seed_number
from training.run.names import AugmentationPreset


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 when the sheet is drawn, 2 when it cannot be."""
    return exit_status(partial(_run, _command_line().parse_args(arguments)))


def _run(options: argparse.Namespace) -> int:
    # torch, Lightning and MONAI take seconds: only what is asked for waits for them
    from training.dataset import load_dataset
    from training.reports.augmented_sheet import sheet

    dataset = load_dataset(options.data)
    drawn = sheet(dataset, options.preset, options.patch, options.seed)
    replace_file(options.out, drawn)
    print(f"written to {options.out}")  # noqa: T201
    if options.show:
        webbrowser.open(options.out.resolve().as_uri())
    return 0


def _command_line() -> argparse.ArgumentParser:
    command = argparse.ArgumentParser(
        prog=called("training.augment"),
        description="Draw patches as a training would see them: plain, with labels, then changed.",
    )
    command.add_argument("data", type=path_named, metavar="PATH", help="folder of the dataset")
    command.add_argument(
        "--preset", choices=get_args(AugmentationPreset), default="medical", help="default: medical"
    )
    command.add_argument("--patch", type=int, nargs="+", metavar="N", help="one number an axis")
    command.add_argument("--seed", type=seed_number, default=0, metavar="N", help="default: 0")
    command.add_argument(
        "--out", type=path_named, default=Path("augmented.png"), metavar="FILE",
        help="default: augmented.png",
    )  # fmt: skip
    command.add_argument("--show", action="store_true", help="open it, where there is a screen")
    return command


if __name__ == "__main__":
    import sys

    sys.exit(main())
