"""The honest rival of a network that lacks blocks: a small one, trained to say what it says."""

import shutil

from seg.networks import SegmentationNetwork
from training.learning.checkpoint import trained_in
from training.learning.trainer import train
from training.run.clock import Clock
from training.run.folder import RunFolder
from training.run.job import TrainingJob
from training.run.plan import changed_plan
from training.run.plan_yaml import write_plan
from training.samples.prepared_cases import prepare_cases

STUDENT = "resunet-xs"
FOLDER = "distilled"
"""In the run's folder; a training that was stopped goes on when the export is asked for again."""


def distilled(
    run: RunFolder, job: TrainingJob, teacher: SegmentationNetwork, minutes: float
) -> SegmentationNetwork:
    """A small network that has learnt from the labels and from ``teacher``.

    Args:
        run: the teacher's, in whose folder the student is kept.
        job: the teacher's.
        teacher: trained.
        minutes: of training; what is spent already counts.

    Raises:
        SegError: the training failed.
    """
    student = RunFolder(run.path / FOLDER)
    student.path.mkdir(exist_ok=True)
    fields = {"network": STUDENT, "shortcut": None, "minutes": minutes, "steps": None}
    calm = {"stochastic_depth": 0.0, "sandwich_share": 0.0, "compute_penalty": 0.0}
    plan = changed_plan(job.plan, fields | calm)
    write_plan(plan, student.plan)
    shutil.copyfile(run.fingerprint, student.fingerprint)
    cases = prepare_cases(job.dataset, plan, run.cache)
    clock = Clock(minutes)
    train(plan, cases, job.dataset, job.device, student.path, clock, teacher)
    return trained_in(student, plan, job.dataset.legend).network
