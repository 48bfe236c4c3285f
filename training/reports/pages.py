"""What the pages that a run and an evaluation leave have in common.

Nothing in them is loaded from elsewhere, so they can be mailed and archived. They show images of
cases: treat them like those.
"""

import base64
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from seg.images import Mask, read_mask
from seg.metrics import Estimate, bootstrap_mean
from seg.model_package import CaseRank
from seg.verbs import called, served
from training.dataset import Case, Dataset
from training.evaluation.evaluator import prediction_file
from training.evaluation.measure import SEED
from training.evaluation.object_scores import OBJECT_MEASURES, ObjectScore
from training.evaluation.score_files import distances_in_words, own_outlines_in_words
from training.evaluation.scores import MEASURES, CaseScore, Evaluation, Summary, in_digits
from training.reports.case_pictures import View, panel, view_of, write_comparison
from training.reports.curves import INKS, Ink

MOST_CARDS = 6
"""Classes that get a card of their own; where there are more, only all of them together do."""
MOST_COLUMNS = 10
"""Classes that get a column of their own in the table of cases."""
MOST_OBJECT_CASES = 20
"""Rows of a table of cases and classes."""

FEW_CASES = 5
"""Below this an interval over cases says little."""


@dataclass(frozen=True)
class Shown:
    """A case with its pictures as data URIs."""

    rank: CaseRank
    score: CaseScore
    place: str
    is_wide: bool
    panels: dict[str, str]


@dataclass(frozen=True)
class ScoreCard:
    """A score beside its floor."""

    name: str
    summary: Summary
    color: tuple[int, int, int] | None

    @property
    def verdict(self) -> str:
        """How the score stands to the floor, in words."""
        score = self.summary
        if score.dice is None or score.floor is None:
            return "no thresholding to compare with"
        gain = f"{score.dice - score.floor:+.3f}"
        if score.interval is None:
            of = "case" if score.cases == 1 else "subject"
            return f"{gain} against thresholding, on one {of}: no interval"
        if score.interval[0] > score.floor:
            return f"{gain} above thresholding"
        if score.dice > score.floor:
            return f"{gain}, but the interval reaches down to thresholding"
        return f"{gain}: no better than thresholding"

    @property
    def is_good(self) -> bool:
        """The whole interval lies above the floor."""
        score = self.summary
        return (
            score.interval is not None
            and score.floor is not None
            and score.interval[0] > score.floor
        )


@dataclass(frozen=True)
class Headline:
    """All classes and cases in one number."""

    dice: Estimate
    """Mean over the classes of a case, then over cases."""
    floor: float | None
    """The same of thresholding."""


def render(template: str, evaluation: Evaluation, dataset: Dataset, **others: Any) -> bytes:
    """A page of a template, with what all pages show of an evaluation."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["score"] = _score
    environment.globals |= {"called": called, "served": served}
    page = environment.get_template(template).render(
        evaluation=evaluation,
        dataset=dataset,
        headline=headline_of(evaluation),
        cards=_cards(evaluation, dataset),
        case_columns=_case_columns(evaluation),
        only_class=_only_class(evaluation),
        measures=_measures_besides_dice(evaluation),
        distances=distances_in_words(evaluation),
        own_outlines=own_outlines_in_words(evaluation),
        object_measures=OBJECT_MEASURES,
        object_cases=_object_cases(evaluation),
        few_cases=len(evaluation.cases) < FEW_CASES,
        **others,
    )
    return page.encode()


def _object_cases(evaluation: Evaluation) -> list[tuple[str, str, ObjectScore]]:
    """Case, class and score, those with most merged, split, missed and invented objects first."""
    rows = [
        (case.case, name, score)
        for case in evaluation.cases
        for name, score in case.objects.items()
    ]

    def wrong(row: tuple[str, str, ObjectScore]) -> int:
        score = row[2]
        return score.merged + score.split + score.predicted + score.reference - 2 * score.hits[0]

    return sorted(rows, key=wrong, reverse=True)[:MOST_OBJECT_CASES]


def _score(value: float | None, digits: int = 3) -> str:
    return "-" if value is None or math.isnan(value) else in_digits(value, digits)


def headline_of(evaluation: Evaluation) -> Headline:
    """All classes and cases in one number."""
    scores = [math.nan if case.mean_dice is None else case.mean_dice for case in evaluation.cases]
    groups = [case.group for case in evaluation.cases]
    names = evaluation.cases[0].classes
    floors = [f for name in names if (f := evaluation.summary[name].floor) is not None]
    return Headline(
        dice=bootstrap_mean(np.array(scores), np.random.default_rng(SEED), groups),
        floor=float(np.mean(floors)) if floors else None,
    )


def _cards(evaluation: Evaluation, dataset: Dataset) -> list[ScoreCard]:
    colors = {each.name: each.color for each in dataset.classes[1:]}
    cards = [ScoreCard(name, each, colors.get(name)) for name, each in evaluation.summary.items()]
    own = [each for each in cards if each.color is not None]
    return own if len(own) <= MOST_CARDS else [each for each in cards if each.color is None]


def _case_columns(evaluation: Evaluation) -> list[str]:
    names = list(evaluation.cases[0].classes)
    return names if 1 < len(names) <= MOST_COLUMNS else []


def _only_class(evaluation: Evaluation) -> str | None:
    names = list(evaluation.cases[0].classes)
    return names[0] if len(names) == 1 else None


def _measures_besides_dice(evaluation: Evaluation) -> list[object]:
    found = {name for each in evaluation.summary.values() for name in each.measures}
    return [measure for measure in MEASURES[1:] if measure.name in found]


def cases_shown(
    predictions: Path, dataset: Dataset, evaluation: Evaluation, picture: Path | None = None
) -> list[Shown]:
    """Best, median and worst case.

    Args:
        predictions: folder with the predicted masks.
        dataset: whose files are read.
        evaluation: its scores.
        picture: where the median case is drawn as a file of its own.
    """
    shown = []
    for rank, score, view in ranked_views(predictions, dataset, evaluation):
        shown.append(Shown(rank, score, view.place, view.is_wide, _panels(view, dataset)))
        if rank == "median" and picture:
            title = f"{dataset.name}, median test case: mean Dice {score.mean_dice:.3f}"
            write_comparison(picture, view, dataset.classes, title)
    return shown


def ranked_views(
    predictions: Path, dataset: Dataset, evaluation: Evaluation
) -> Iterator[tuple[CaseRank, CaseScore, View]]:
    """The cases of ``shown_ranks`` with their pictures."""
    by_name = {case.name: case for case in dataset.cases}
    for rank, score in shown_ranks(evaluation):
        yield rank, score, _view(predictions, dataset, by_name[score.case])


def shown_ranks(evaluation: Evaluation) -> list[tuple[CaseRank, CaseScore]]:
    """Best, median and worst case, as far as they are several; a single one is the median."""
    ranked = evaluation.ranked
    middle = (len(ranked) - 1) // 2
    places: dict[int, CaseRank] = {len(ranked) - 1: "best", 0: "worst", middle: "median"}
    return [(places[at], ranked[at]) for at in sorted(places if ranked else (), reverse=True)]


def _panels(view: View, dataset: Dataset) -> dict[str, str]:
    masks = (("image", None), ("reference", view.reference), ("prediction", view.prediction))
    return {name: uri("image/webp", panel(view, mask, dataset.classes)) for name, mask in masks}


def _view(predictions: Path, dataset: Dataset, case: Case) -> View:
    image, labels = dataset.read(case)
    reference = Mask.on_grid_of(image, dataset.legend.painted(labels.array))
    kept = read_mask(prediction_file(predictions, case.name, image.dims), dims=image.dims)
    return view_of(image, reference, Mask.on_grid_of(image, kept.array))


def on_light_and_dark(draw: Callable[[Ink], bytes]) -> Mapping[str, str]:
    """A drawing in SVG, once for either kind of page."""
    return {name: uri("image/svg+xml", draw(ink)) for name, ink in INKS.items()}


def uri(media_type: str, content: bytes) -> str:
    """The content as a data URI."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
