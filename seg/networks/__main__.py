"""What networks cost, and how they look: ``python -m seg.networks [NAME...] [--draw FILE]``."""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from seg.commands import exit_status, path_named
from seg.names import MOST_CLASSES, PRESET_NAMES, SHORTCUT_NAMES
from seg.verbs import called

NOT_DRAWN = Path()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 when all went well, 2 when an option cannot work."""
    return exit_status(partial(_run, _parser().parse_args(arguments)))


def _run(options: argparse.Namespace) -> int:
    # torch takes seconds: only what is asked for waits for it
    from seg.networks.listing import draw_one, table, what_can_go, write_table

    if options.draw != NOT_DRAWN:
        draw_one(options)
    else:
        write_table(table(options.names or PRESET_NAMES, options))
        if len(options.names) == 1:
            sys.stderr.write(what_can_go(options.names[0], options))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=called("seg.networks"),
        description="Parameters, operations, memory, receptive field and time of networks; for "
        "one float32 patch. Activations are what training keeps for the gradient, the time is "
        "a forward pass on this CPU.",
    )
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME",
        help=f"{', '.join(PRESET_NAMES)}, smp:ARCHITECTURE/ENCODER, tu-ENCODER, "
             "seg:PRESET+ENCODER, monai:NAME or package.module:function (default: all "
             "presets)")  # fmt: skip
    add("--dims", type=int, choices=(2, 3), default=2, help="spatial dimensions (default: 2)")
    add("--patch", type=int, nargs="+", metavar="N", help="voxels, one number an axis")
    add("--classes", type=_classes, default=2, metavar="K",
        help="classes with background (default: 2)")  # fmt: skip
    add("--shortcut", metavar="KIND",
        help=f"in place of the preset's own: {', '.join(SHORTCUT_NAMES)}")  # fmt: skip
    add("--no-time", dest="time", action="store_false", help="count, but run nothing")
    add("--draw", type=path_named, nargs="?", default=NOT_DRAWN, metavar="FILE.svg",
        help="draw the one network named (default: NAME.svg)")  # fmt: skip
    return parser


def _classes(text: str) -> int:
    if not text.isdecimal() or int(text) > MOST_CLASSES:
        raise argparse.ArgumentTypeError(f"a whole number up to {MOST_CLASSES} is needed")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
