"""Options of the commands that score a package on a dataset; light, as every command line is."""

import argparse

SPLITS = ("train", "test", "all")


def add_split_option(parser: argparse.ArgumentParser, what: str) -> None:
    """``--split``."""
    parser.add_argument(
        "--split",
        choices=SPLITS,
        help=f"cases to {what} (default: those that the package was not trained on, which are all "
        "of a folder that it has not seen)",
    )
