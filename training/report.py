"""``report.html``: one file that shows what was trained, on what, how well, and how to use it.

Nothing in it is loaded from elsewhere, so it can be mailed and archived. It shows images of the
test cases: treat it like them.
"""

import base64
import math
import shlex
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np

from seg.files import replace_file
from seg.images import Mask, read_mask
from seg.metrics import Estimate, bootstrap_mean
from seg.networks import parameter_count
from training.curves import INKS, draw_curves, read_log
from training.dataset import Case, Dataset
from training.evaluate import prediction_file
from training.measure import SEED
from training.package import Finished, Job
from training.pictures import View, panel, view_of, write_comparison
from training.plan_in_words import data_in_words, plan_in_words
from training.scores import CaseScore, Evaluation, Summary
from training.train import Trained

REPORT_FILE = "report.html"
PICTURE_FILE = "prediction.png"
MOST_CARDS = 6
"""Classes that get a card of their own; where there are more, only all of them together do."""
MOST_COLUMNS = 10
"""Classes that get a column of their own in the table of cases."""
FEW_CASES = 5
"""Below this an interval over cases says little."""


@dataclass(frozen=True)
class Shown:
    """A case with its pictures as data URIs."""

    rank: str
    score: CaseScore
    place: str
    is_wide: bool
    panels: dict[str, str]


@dataclass(frozen=True)
class Card:
    """A score beside its floor."""

    name: str
    summary: Summary
    color: tuple[int, int, int] | None

    @property
    def verdict(self) -> str:
        """How the score stands to the floor, in words."""
        score = self.summary
        if score.dice is None or score.floor is None or score.ci95 is None:
            return "no thresholding to compare with"
        gain = f"{score.dice - score.floor:+.3f}"
        if score.ci95[0] > score.floor:
            return f"{gain} above thresholding"
        if score.dice > score.floor:
            return f"{gain}, but the interval reaches down to thresholding"
        return f"{gain}: no better than thresholding"

    @property
    def is_good(self) -> bool:
        """The whole interval lies above the floor."""
        score = self.summary
        return score.ci95 is not None and score.floor is not None and score.ci95[0] > score.floor


def write_report(folder: Path, job: Job, trained: Trained, finished: Finished) -> Path:
    """Write ``report.html`` and ``prediction.png``, its main picture, into a run's folder.

    Args:
        folder: of the run, with ``logs`` and ``predictions`` in it.
        job: what was trained.
        trained: the network and what it took.
        finished: the package and its scores.
    """
    evaluation = finished.evaluation
    card = finished.package.card
    headline = _headline(evaluation)
    page = _template().render(
        card=card,
        variant=card.variants[0],
        dataset=job.dataset,
        evaluation=evaluation,
        headline=headline,
        cards=_cards(evaluation, job.dataset),
        case_columns=_case_columns(evaluation),
        few_cases=len(evaluation.cases) < FEW_CASES,
        shown=_shown(folder, job.dataset, evaluation),
        curves=_curves(folder, headline.dice.mean),
        plan=plan_in_words(job.plan, parameter_count(trained.network)),
        steps=trained.steps,
        minutes=trained.seconds / 60,
        device=job.device.name,
        data=data_in_words(job.dataset, job.fingerprint),
        proof=finished.proof,
        megabytes=finished.package.model_file().stat().st_size / 1e6,
        package=shlex.quote(str(finished.package.path)),
        data_path=shlex.quote(job.plan.data),
    )
    replace_file(folder / REPORT_FILE, page.encode())
    return folder / REPORT_FILE


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["score"] = _score
    return environment.get_template("report.html.j2")


def _score(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


@dataclass(frozen=True)
class Headline:
    """All classes and cases in one number."""

    dice: Estimate
    """Mean over the classes of a case, then over cases."""
    floor: float | None
    """The same of thresholding."""


def _headline(evaluation: Evaluation) -> Headline:
    scores = [math.nan if case.mean_dice is None else case.mean_dice for case in evaluation.cases]
    names = evaluation.cases[0].classes
    floors = [f for name in names if (f := evaluation.summary[name].floor) is not None]
    return Headline(
        dice=bootstrap_mean(np.array(scores), np.random.default_rng(SEED)),
        floor=float(np.mean(floors)) if floors else None,
    )


def _cards(evaluation: Evaluation, dataset: Dataset) -> list[Card]:
    colors = {each.name: each.color for each in dataset.classes[1:]}
    cards = [Card(name, each, colors.get(name)) for name, each in evaluation.summary.items()]
    own = [each for each in cards if each.color is not None]
    return own if len(own) <= MOST_CARDS else [each for each in cards if each.color is None]


def _case_columns(evaluation: Evaluation) -> list[str]:
    names = list(evaluation.cases[0].classes)
    return names if 1 < len(names) <= MOST_COLUMNS else []


def _shown(folder: Path, dataset: Dataset, evaluation: Evaluation) -> list[Shown]:
    """Best, median and worst case; the median one is also the run's main picture."""
    ranked = evaluation.ranked
    if not ranked:
        return []
    places = {"median": (len(ranked) - 1) // 2, "best": len(ranked) - 1, "worst": 0}
    by_name = {case.name: case for case in dataset.cases}
    shown: dict[int, Shown] = {}
    for rank, place in places.items():
        if place in shown:
            continue
        score = ranked[place]
        view = _view(folder, dataset, by_name[score.case])
        panels = {
            name: _uri("image/webp", panel(view, labels, dataset.classes))
            for name, labels in (
                ("image", None),
                ("reference", view.reference),
                ("prediction", view.prediction),
            )
        }
        shown[place] = Shown(rank, score, view.place, view.is_wide, panels)
        if rank == "median":
            title = f"{dataset.name}, median test case: mean Dice {score.mean_dice:.3f}"
            write_comparison(folder / PICTURE_FILE, view, dataset.classes, title)
    return [shown[place] for place in sorted(shown, reverse=True)]


def _view(folder: Path, dataset: Dataset, case: Case) -> View:
    image, reference = dataset.read(case)
    kept = read_mask(
        prediction_file(folder / "predictions", case.name, image.dims), dims=image.dims
    )
    return view_of(image, reference, Mask.on_grid_of(image, kept.array))


def _curves(folder: Path, test_dice: float) -> dict[str, str] | None:
    log = read_log(folder / "logs")
    if log is None:
        return None
    return {
        name: _uri("image/svg+xml", draw_curves(log, test_dice, ink)) for name, ink in INKS.items()
    }


def _uri(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
