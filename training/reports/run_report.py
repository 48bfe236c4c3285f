"""``report.html`` of a run: what was trained, on what, how well, and how to use it."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from seg.files import replace_file
from seg.networks import parameter_count
from training.learning.checkpoint import Trained
from training.packaging.faster_ways import named_ways, taken_in_a_word
from training.packaging.package import Finished
from training.reports.curves import draw_curves, read_log
from training.reports.object_pictures import COLORS, objects_shown
from training.reports.pages import cases_shown, headline_of, on_light_and_dark, render
from training.reports.plan_in_words import data_in_words, plan_in_words
from training.run.job import TrainingJob

REPORT_FILE = "report.html"
PICTURE_FILE = "prediction.png"


def write_report(folder: Path, job: TrainingJob, trained: Trained, finished: Finished) -> Path:
    """Write ``report.html`` and ``prediction.png``, its main picture, into a run's folder.

    Args:
        folder: of the run, with ``logs`` and ``predictions`` in it.
        job: what was trained.
        trained: the network and what it took.
        finished: the package and its scores.
    """
    evaluation = finished.evaluation
    card = finished.package.card
    page = render(
        "report.html.j2",
        evaluation,
        job.dataset,
        card=card,
        variant=card.variants[0],
        ways_shown=named_ways(card.faster_ways) if card.faster_ways else [],
        taken=partial(taken_in_a_word, card),
        shown=cases_shown(
            folder / "predictions", job.dataset, evaluation, picture=folder / PICTURE_FILE
        ),
        shown_objects=objects_shown(folder / "predictions", job.dataset, evaluation),
        fate_colors=COLORS,
        curves=_curves(folder, headline_of(evaluation).dice.mean),
        plan=plan_in_words(
            job.plan,
            parameter_count(trained.network),
            [channel.name for channel in job.dataset.channels],
        ),
        steps=trained.steps,
        planned_steps=job.planned_steps,
        minutes=trained.seconds / 60,
        device=job.device.name,
        data=data_in_words(job.dataset, job.fingerprint),
        error=finished.error,
        megabytes=finished.package.model_file().stat().st_size / 1e6,
        package=finished.package.path,
        data_path=job.plan.data,
    )
    replace_file(folder / REPORT_FILE, page)
    return folder / REPORT_FILE


def _curves(folder: Path, test_dice: float) -> Mapping[str, str] | None:
    log = read_log(folder / "logs")
    return on_light_and_dark(lambda ink: draw_curves(log, test_dice, ink)) if log else None
