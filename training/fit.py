"""From a dataset folder to a model package: ``python -m training.fit [PATH] --minutes M``.

Look, plan, train, evaluate, export, report; each step's result is a file in the run's folder, so
a run that was stopped goes on with ``--resume``.
"""

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from functools import partial

from seg.commands import exit_status
from seg.verbs import called
from training.planning.command_line import check_resumed, command_line, options_from
from training.run.clock import age_of_this_process_s

log = logging.getLogger("training")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 when the package is there, 2 when it cannot be, 130 when stopped."""
    spent_s = age_of_this_process_s() if arguments is None else 0.0
    arguments = sys.argv[1:] if arguments is None else arguments
    options = command_line().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    log.setLevel(logging.INFO)
    logging.getLogger("data").setLevel(logging.INFO)
    signal.signal(signal.SIGTERM, _stopped)
    return exit_status(partial(_run, options, arguments, spent_s), log.error)


def _run(options: argparse.Namespace, arguments: Sequence[str], spent_s: float) -> int:
    # torch, Lightning and MONAI take seconds: only what is asked for waits for them
    from training.pipeline.fitting import fit, resume
    from training.run.processes import joined

    if options.resume:
        check_resumed(arguments)
    command = called("training.fit", *arguments)
    with joined() as world:
        if not world.leads:
            log.setLevel(logging.ERROR)
        if options.resume:
            resume(options.resume, command, world, with_ray=options.ray, minutes=options.minutes)
        else:
            fit(options_from(options), command, world, spent_s=spent_s)
    return 0


def _stopped(*_: object) -> None:
    """A request to stop ends the run as Ctrl-C does."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
