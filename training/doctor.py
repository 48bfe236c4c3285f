"""Which residual blocks of a trained network do something: ``python -m training.doctor RUN``.

Every block is left out by itself, and all of them one after another, and the Dice on windows of
the training cases says what that costs. Nothing is trained.

Source of the lesions: Veit et al., Residual Networks Behave Like Ensembles of Relatively Shallow
Networks, NeurIPS 2016. Letters: ``b`` batch, ``c`` channels.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from seg.commands import exit_status, path_named
from seg.verbs import called


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 where all went well, 2 where a user must repair something."""
    parser = argparse.ArgumentParser(
        prog=called("training.doctor"),
        description="Say which residual blocks of a trained network do nothing, what dropping "
        "them would save and cost, and whether depth pays on these data.",
    )
    parser.add_argument("run", type=path_named, metavar="RUN", help="folder of a run")
    options = parser.parse_args(arguments)
    return exit_status(partial(_run, options.run))


def _run(path: Path) -> int:
    # torch, Lightning and MONAI take seconds: only what is asked for waits for them
    from training.learning.checkpoint import trained_in
    from training.run.folder import run_of
    from training.run.job import job_in
    from training.variants.diagnosis import diagnose, diagnosis_in_words, gates_in_words
    from training.variants.probe import probe_of

    run = run_of(path)
    job, _ = job_in(run, "training.doctor")
    network = trained_in(run, job.plan, job.dataset.legend).network
    print(diagnosis_in_words(diagnose(network, probe_of(job.dataset, job.plan))))  # noqa: T201
    if gates := gates_in_words(network, job.plan.patch):
        removal = "" if job.plan.compute_penalty else "; --compute-penalty removes them"
        print(f"\n{gates}{removal}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
