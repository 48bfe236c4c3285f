"""Networks in a table, with what they cost, or one of them drawn."""

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from seg.errors import ConfigError
from seg.files import replace_file
from seg.networks.config import RESIDUAL, UNetConfig
from seg.networks.costs import costs, milliseconds, without_memory
from seg.networks.drawing import draw
from seg.networks.foreign.config import ForeignConfig
from seg.networks.foreign.drawing import draw_foreign
from seg.networks.foreign.own_code import allow, names_own_code
from seg.networks.layers import Axes
from seg.networks.presets import PRESETS, network_config

FOREIGN_EDGE = {2: 256, 3: 96}
"""Of a patch of other libraries' networks, by number of spatial dimensions."""


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


def what_can_go(name: str, options: argparse.Namespace) -> str:
    """Which blocks of a network its faster variants may lack, as a line."""
    config, _ = _config(name, options)
    blocks = without_memory(config).droppable_blocks()
    if not blocks:
        return "no block can be left out\n"
    return f"{len(blocks)} blocks can be left out: {', '.join(blocks)}\n"


def _config(name: str, options: argparse.Namespace) -> tuple[UNetConfig | ForeignConfig, Axes]:
    if names_own_code(name):
        sys.stderr.write(f"{name}: its code is run; use only what you have read\n")
        allow(name)
    config = network_config(
        name, spatial_dims=options.dims, in_channels=1, num_classes=options.classes
    )
    is_ours = isinstance(config, UNetConfig) and RESIDUAL in (config.encoder, config.decoder)
    if options.shortcut is not None and not is_ours:
        raise ConfigError(f"--shortcut changes seg's own blocks, and {name} has none; leave it out")
    if isinstance(config, ForeignConfig):
        multiples = (max(1, FOREIGN_EDGE[options.dims] // s) * s for s in config.total_stride)
        return config, tuple(options.patch or multiples)
    if options.shortcut is not None:
        config = replace(config, shortcut=options.shortcut)
    own = PRESETS[name].patch[options.dims] if name in PRESETS else (FOREIGN_EDGE[2],) * 2
    return config, tuple(options.patch or own)


def draw_one(options: argparse.Namespace) -> None:
    """Draw the one network that is named.

    Raises:
        ConfigError: several are named, or it is none.
    """
    if len(options.names) != 1:
        raise ConfigError(f"--draw draws one network, got {len(options.names)} names; name one")
    (name,) = options.names
    config, _ = _config(name, options)
    text = draw_foreign(config, name) if isinstance(config, ForeignConfig) else draw(config, name)
    file = options.draw or Path(re.sub(r"[^\w.+-]+", "-", name) + ".svg")
    replace_file(file, text.encode())
    sys.stderr.write(f"drawn in {file}\n")


def write_table(rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows of text in columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for name, *numbers in rows:
        cells = [name.ljust(widths[0])]
        cells += [number.rjust(width) for number, width in zip(numbers, widths[1:], strict=True)]
        sys.stdout.write("  ".join(cells) + "\n")


def _by(axes: Axes) -> str:
    return "x".join(str(n) for n in axes)
