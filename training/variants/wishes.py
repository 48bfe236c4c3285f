"""Which variants are wanted, and the options that say so; light, as every command line is."""

import argparse
from dataclasses import dataclass
from typing import get_args

from seg.commands import path_named, positive
from training.run.names import VariantPrecision


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What kind of variants are wanted."""

    precisions: tuple[VariantPrecision, ...] = ("float32", "int8")
    depths: int = 3
    """Networks without blocks that are looked at."""
    most_lost: float = 0.03
    """Mean Dice that a variant may lose, and as much AP .5 where it tells objects apart."""
    int8_tolerance: float = 0.002
    """Dice that rounding may cost on training windows before layers are left in float32.

    Networks are surest of what they were fitted to: 0.003 there was 0.007 on new images of
    scratch-assay, 0.001 was 0.004, and the layers in float32 that lie between took no time.
    """


def add_variant_options(parser: argparse.ArgumentParser) -> None:
    """Options of the command line."""
    add = parser.add_argument_group("variants, faster ones for a service under load").add_argument
    add("--variants", action="store_true",
        help="write shallower and int8 networks as well, each with its own Dice and time; those "
             "that another one beats in both are left out")  # fmt: skip
    add("--distil", type=positive, metavar="MINUTES",
        help="train a small network to say what the large one says, as their rival")  # fmt: skip
    add("--against", type=path_named, metavar="RUN",
        help="another run on the same data, e.g. without --elastic: the report shows what dropping "
             "blocks costs there")  # fmt: skip
    add("--precisions", nargs="+", choices=get_args(VariantPrecision),
        help="default: float32 and int8 on a CPU, float32, tf32 and float16 on a GPU")  # fmt: skip
    add("--depths", type=int, default=Wishes.depths, metavar="N",
        help=f"networks without blocks that are looked at (default: {Wishes.depths})")  # fmt: skip
    add("--most-lost", type=positive, default=Wishes.most_lost, metavar="DICE",
        help="mean Dice that a variant may lose against the whole network, and AP .5 of objects "
             f"(default: {Wishes.most_lost})")  # fmt: skip
