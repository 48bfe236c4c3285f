"""Options of the commands that score a package on a dataset; light, as every command line is."""

import argparse
import math

SPLITS = ("train", "test", "all")


def add_split_option(parser: argparse.ArgumentParser, what: str) -> None:
    """``--split``."""
    parser.add_argument(
        "--split",
        choices=SPLITS,
        help=f"cases to {what} (default: those that the package was not trained on, which are all "
        "of a folder that it has not seen)",
    )


def positive(text: str) -> float:
    """A number of the command line that must be above 0 and finite."""
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError("must be above 0 and finite")
    return number
