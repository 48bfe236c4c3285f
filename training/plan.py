"""Plan without training: ``python -m training.plan PATH --minutes M --memory SIZE``."""

import argparse
import logging
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from seg.commands import exit_status, path_named
from seg.files import replace_file
from seg.verbs import called
from training.planning.command_line import add_plan_arguments, chosen_from
from training.planning.options import DEFAULT_MINUTES, PlanOptions


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 when the plan is written, 2 when there can be none."""
    options = _command_line().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("training").setLevel(logging.INFO)
    return exit_status(partial(_run, options))


def _run(options: argparse.Namespace) -> int:
    # torch, Lightning and MONAI take seconds: only what is asked for waits for them
    from training.dataset import load_dataset
    from training.dataset.fingerprint import fingerprint_of
    from training.planning.foreign_networks import check_network
    from training.planning.planner import as_csv, plan_run
    from training.run.clock import Clock
    from training.run.device import find_device
    from training.run.plan_yaml import write_plan

    clock = Clock(DEFAULT_MINUTES)
    dataset = load_dataset(options.dataset)
    chosen = PlanOptions(as_nnunet=options.as_nnunet, chosen=chosen_from(options))
    check_network(chosen.chosen, dataset)
    planned = plan_run(chosen, dataset, fingerprint_of(dataset), find_device(), clock)
    write_plan(planned.plan, options.out)
    written = [options.out]
    if planned.considered:
        written.append(options.out.with_suffix(".candidates.csv"))
        replace_file(written[-1], as_csv(planned.considered))
    print("written to " + ", ".join(map(str, written)))  # noqa: T201
    return 0


def _command_line() -> argparse.ArgumentParser:
    command = argparse.ArgumentParser(
        prog=called("training.plan"),
        usage="%(prog)s PATH [--minutes M] [--memory SIZE] [--out FILE] [OPTION ...]",
        description="Look at a dataset and at this machine, and write the plan that "
        f"{called('training.fit')} would follow.",
    )
    command.add_argument("dataset", type=path_named, metavar="PATH", help="folder of the dataset")
    command.add_argument(
        "--out",
        type=path_named,
        default=Path("plan.yaml"),
        metavar="FILE",
        help="default: plan.yaml",
    )
    add_plan_arguments(command)
    return command


if __name__ == "__main__":
    sys.exit(main())
