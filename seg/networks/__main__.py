"""What networks cost, and how they look: ``python -m seg.networks [NAME...] [--draw FILE]``."""

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from tqdm import tqdm

from seg.commands import exit_status
from seg.errors import ConfigError
from seg.files import replace_file
from seg.networks.config import UNetConfig
from seg.networks.costs import costs, milliseconds
from seg.networks.drawing import draw
from seg.networks.foreign.config import ForeignConfig
from seg.networks.foreign.drawing import draw_foreign
from seg.networks.foreign.own_code import allow, names_own_code
from seg.networks.layers import Axes
from seg.networks.presets import PRESETS, network_config
from seg.networks.shortcut import SHORTCUTS

FOREIGN_EDGE = {2: 256, 3: 96}
"""Of a patch of other libraries' networks, by number of spatial dimensions."""

NOT_DRAWN = Path()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 when all went well, 2 when an option cannot work."""
    return exit_status(partial(_run, _parser().parse_args(arguments)))


def _run(options: argparse.Namespace) -> int:
    if options.draw != NOT_DRAWN:
        _draw(options)
    else:
        _write(table(options.names or list(PRESETS), options))
    return 0


def table(names: Sequence[str], options: argparse.Namespace) -> list[tuple[str, ...]]:
    """Rows of text, the first one with the names of the columns."""
    rows: list[tuple[str, ...]] = [
        (
            "network",
            "patch",
            "parameters",
            "GFLOP a patch",
            "activations",
            "receptive field",
            "ms a patch",
        )
    ]
    with tqdm(names, unit="network", disable=None, leave=False) as bar:
        for name in bar:
            bar.set_postfix_str(name)
            config, patch = _config(name, options)
            cost = costs(config, patch)
            rows.append(
                (
                    name,
                    _by(patch),
                    f"{cost.parameters / 1e6:.2f} M",
                    f"{cost.flops / 1e9:.1f}",
                    f"{cost.activation_bytes / 2**20:.0f} MiB",
                    _by(cost.receptive_field) if cost.receptive_field else "-",
                    f"{milliseconds(config, patch):.0f}" if options.time else "-",
                )
            )
    return rows


def _config(name: str, options: argparse.Namespace) -> tuple[UNetConfig | ForeignConfig, Axes]:
    if names_own_code(name):
        sys.stderr.write(f"{name}: its code is run; use only what you have read\n")
        allow(name)
    config = network_config(
        name, spatial_dims=options.dims, in_channels=1, num_classes=options.classes
    )
    if isinstance(config, ForeignConfig):
        multiples = (max(1, FOREIGN_EDGE[options.dims] // s) * s for s in config.total_stride)
        return config, tuple(options.patch or multiples)
    if options.shortcut is not None:
        config = replace(config, shortcut=options.shortcut)
    own = PRESETS[name].patch[options.dims] if name in PRESETS else (FOREIGN_EDGE[2],) * 2
    return config, tuple(options.patch or own)


def _draw(options: argparse.Namespace) -> None:
    if len(options.names) != 1:
        raise ConfigError(f"--draw draws one network, got {len(options.names)} names; name one")
    (name,) = options.names
    config, _ = _config(name, options)
    text = draw_foreign(config, name) if isinstance(config, ForeignConfig) else draw(config, name)
    file = options.draw or Path(re.sub(r"[^\w.+-]+", "-", name) + ".svg")
    replace_file(file, text.encode())
    sys.stderr.write(f"drawn in {file}\n")


def _write(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for name, *numbers in rows:
        cells = [name.ljust(widths[0])]
        cells += [number.rjust(width) for number, width in zip(numbers, widths[1:], strict=True)]
        sys.stdout.write("  ".join(cells) + "\n")


def _by(axes: Axes) -> str:
    return "x".join(str(n) for n in axes)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m seg.networks",
        description="Parameters, operations, memory, receptive field and time of networks; for "
        "one float32 patch. Activations are what training keeps for the gradient, the time is "
        "a forward pass on this CPU.",
    )
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME",
        help=f"{', '.join(PRESETS)}, smp:ARCHITECTURE/ENCODER, tu-ENCODER, seg:PRESET+ENCODER, "
             "monai:NAME or package.module:function (default: all presets)")  # fmt: skip
    add("--dims", type=int, choices=(2, 3), default=2, help="spatial dimensions (default: 2)")
    add("--patch", type=int, nargs="+", metavar="N", help="voxels, one number an axis")
    add("--classes", type=int, default=2, metavar="K", help="classes with background (default: 2)")
    add("--shortcut", choices=sorted(SHORTCUTS), help="in place of the preset's own")
    add("--no-time", dest="time", action="store_false", help="count, but run nothing")
    add("--draw", type=Path, nargs="?", default=NOT_DRAWN, metavar="FILE.svg",
        help="draw the one network named (default: NAME.svg)")  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
