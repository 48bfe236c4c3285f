"""``python -m service.studio FOLDER``: outline, train and count in the browser, on one folder.

It names the folder, a place for models and the minutes of a training, and serves; whoever wants
more sets the variables of docs/studio.md and serves with ``seg serve``.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from seg import verbs
from seg.commands import exit_status, path_named, positive
from seg.errors import ConfigError
from seg.verbs import called

MINUTES = 15
MODELS = "models"
"""Folder within the studio's, where trained models lie."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve a studio until a signal comes."""
    parser = argparse.ArgumentParser(
        prog=called("service.studio"),
        description="Outline, train and count in the browser, on a folder of images.",
    )
    parser.add_argument(
        "folder", type=path_named, nargs="?", default=Path("studio"), metavar="FOLDER",
        help="where images, outlines and models lie; made where it is not there (default: studio)",
    )  # fmt: skip
    parser.add_argument(
        "--minutes", type=positive, metavar="N",
        help=f"of a training (default: SEG_TRAIN_MINUTES, or {MINUTES})",
    )  # fmt: skip
    parser.add_argument(
        "--port", type=_port, default=3000, metavar="N", help="to listen on (default: 3000)"
    )
    options = parser.parse_args(arguments)
    return exit_status(partial(_serve, options.folder, options.minutes, options.port), serves=True)


def _serve(folder: Path, minutes: float | None, port: int) -> int:
    models = Path(os.environ.get("SEG_MODELS") or folder / MODELS)
    try:
        models.mkdir(parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"a studio lies in a folder, {folder} cannot be one: {error.strerror}"
        ) from error
    os.environ["SEG_STUDIO"] = str(folder)
    os.environ["SEG_MODELS"] = str(models)
    if minutes is not None:
        os.environ["SEG_TRAIN_MINUTES"] = f"{minutes:g}"
    os.environ.setdefault("SEG_TRAIN_MINUTES", str(MINUTES))
    sys.stderr.write(f"open http://localhost:{port}/studio in a few seconds; Ctrl-C ends it\n")
    return verbs.main(["serve", "--port", str(port)])


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"must be a number from 1 to 65535, got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
