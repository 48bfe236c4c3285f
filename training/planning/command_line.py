"""The command line of ``training.fit``, light: a plan is imported once it is read."""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from seg.commands import path_named
from seg.errors import ConfigError
from seg.verbs import called
from training.planning.flags import add_flags
from training.planning.options import PlanOptions
from training.run.names import NnunetPreset

NO_WEIGHTS = "none"
DEFAULT_DATASET = "scratch-assay"


def options_from(arguments: argparse.Namespace) -> PlanOptions:
    """What was asked for, out of parsed arguments."""
    return PlanOptions(
        data=arguments.data,
        out=arguments.out,
        plan=arguments.plan,
        with_ray=arguments.ray,
        as_nnunet=arguments.as_nnunet,
        chosen=chosen_from(arguments),
    )


def chosen_from(arguments: argparse.Namespace) -> dict[str, Any]:
    """Fields of the plan that the command line sets."""
    from seg.networks.foreign.own_code import allow, names_own_code
    from seg.networks.foreign.weights_file import is_file
    from training.run.plan import Plan, elastic_fields

    names = set(vars(arguments)) & set(Plan.model_fields) - {"data"}
    chosen = {
        name: value for name in sorted(names) if (value := getattr(arguments, name)) is not None
    }
    if chosen.get("weights") == NO_WEIGHTS:
        chosen["weights"] = None  # not even those that a trial would choose
    elif is_file(chosen.get("weights", "")):
        chosen["weights"] = str(Path(chosen["weights"]).resolve())
    if names_own_code(chosen.get("network", "")):
        allow(chosen["network"])
    if arguments.elastic:
        chosen = elastic_fields(chosen.get("network")) | chosen
    if "class_weights" in chosen:
        chosen["class_weights"] = dict(chosen["class_weights"])
    for name in {"patch", "spacing", "margin", "mirror_axes"} & set(chosen):
        chosen[name] = tuple(chosen[name])
    if "start" in chosen:
        chosen["start"] = str(Path(chosen["start"]).resolve())
    return chosen


def command_line() -> argparse.ArgumentParser:
    """Arguments of ``training.fit`` and their help."""
    command = argparse.ArgumentParser(
        prog=called("training.fit"),
        usage="%(prog)s [PATH] [--minutes M] [--memory SIZE] [--out DIR] [OPTION ...]",
        description="Train a residual U-Net on a folder of images and masks, prove it, package it.",
    )
    add = command.add_argument
    add("data", type=path_named, nargs="?", metavar="PATH",
        help=f"dataset folder: nnU-Net raw format, Decathlon, or images/ and masks/ (default: "
             f"{DEFAULT_DATASET}, fetched once)")  # fmt: skip
    add("--out", type=path_named, metavar="DIR", help="folder of the run (default: runs/NAME-TIME)")
    add("--resume", type=path_named, metavar="DIR", help="go on with a run that was stopped")
    add("--plan", type=path_named, metavar="FILE", help="obey this plan.yaml")
    add_flags(add, "run")
    add("--ray", action="store_true",
        help="train folds side by side on Ray's workers (RAY_ADDRESS: a cluster)")  # fmt: skip
    add_plan_arguments(command)
    return command


def check_resumed(arguments: Sequence[str]) -> None:
    """Make sure that nothing was asked for beside ``--resume`` that a planned run passes over.

    Raises:
        ConfigError: something was.
    """
    taken = argparse.ArgumentParser(add_help=False)
    for name in ("--resume", "--minutes"):
        taken.add_argument(name)
    taken.add_argument("--ray", action="store_true")
    _, others = taken.parse_known_args(arguments)
    if others:
        raise ConfigError(
            "--resume goes on as the run was planned, with nothing but --minutes and --ray beside "
            f"it: leave out {shlex.join(others)}, or begin another run"
        )


def add_plan_arguments(command: argparse.ArgumentParser) -> None:
    """The budget, and what can be set in place of what would be planned."""
    add = command.add_argument_group("budget").add_argument
    add_flags(add, "budget")
    add("--as-nnunet", choices=get_args(NnunetPreset),
        help="plan patch, strides and batch by nnU-Net's rules for 8, 24 or 40 GB")  # fmt: skip
    add = command.add_argument_group("network, in place of what would be planned").add_argument
    add_flags(add, "network")
    add("--elastic", action="store_true",
        help="train so that blocks can be dropped: stochastic depth, and at the end every other "
             f"step without some of them; {called('training.export', '--variants')} drops "
             "them")  # fmt: skip
    for group in ("data", "training"):
        add = command.add_argument_group(f"{group}, in place of what would be planned").add_argument
        add_flags(add, group)
