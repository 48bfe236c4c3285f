"""``report.html`` of an evaluation: how well a package does on a dataset, and where it fails."""

from dataclasses import dataclass
from pathlib import Path

from seg.errors import ConfigError
from seg.files import replace_file
from seg.model_package import ModelPackage
from seg.verbs import called
from training.dataset import Dataset
from training.evaluation.options import SPLITS
from training.evaluation.score_files import distances_in_words
from training.evaluation.scores import Evaluation
from training.reports.object_pictures import COLORS, objects_shown
from training.reports.pages import cases_shown, on_light_and_dark, render
from training.reports.score_pictures import draw_reliability, draw_spread

REPORT_FILE = "report.html"
PLAN_FILE = "plan.yaml"


def report_beside(metrics: Path) -> Path:
    """Where the report of an evaluation goes: never over the report of a run."""
    is_run = (metrics.parent / PLAN_FILE).exists()
    if metrics.name == "metrics.json" and not is_run:
        return metrics.with_name(REPORT_FILE)
    return metrics.with_suffix(".html")


@dataclass(frozen=True)
class Scored:
    """What was scored, and the scores."""

    package: ModelPackage
    dataset: Dataset
    evaluation: Evaluation
    predictions: Path
    """Folder with the predicted masks."""
    split: str = "test"
    is_mirrored: bool = False
    """Patches were predicted in all their mirrors."""


def write_evaluation_report(path: Path, scored: Scored) -> None:
    """Write the page, whole or not at all.

    Raises:
        ConfigError: the path cannot be written.
    """
    package, dataset, evaluation = scored.package, scored.dataset, scored.evaluation
    card = package.card
    is_calibrated = any(each.reliability for each in evaluation.summary.values())
    page = render(
        "evaluation.html.j2",
        evaluation,
        dataset,
        card=card,
        split=scored.split,
        mirror=scored.is_mirrored,
        seen=scored.split == "train" and dataset.sha256() == card.provenance.dataset_sha256,
        shown=cases_shown(scored.predictions, dataset, evaluation),
        shown_objects=objects_shown(scored.predictions, dataset, evaluation),
        fate_colors=COLORS,
        spread=on_light_and_dark(lambda ink: draw_spread(evaluation, ink)),
        calibration=on_light_and_dark(lambda ink: draw_reliability(evaluation, ink))
        if is_calibrated
        else None,
        about=_about(scored),
    )
    try:
        replace_file(path, page)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def _about(scored: Scored) -> list[tuple[str, str]]:
    package, dataset, evaluation = scored.package, scored.dataset, scored.evaluation
    card, split = package.card, scored.split
    cases = len(evaluation.cases)
    command = [str(package.path), str(dataset.folder)]
    if split in SPLITS:
        command += ["--split", split]
    if scored.is_mirrored:
        command.append("--mirror")
    if evaluation.tolerance is not None:
        command += ["--tolerance", f"{evaluation.tolerance:g}"]
    return [
        ("Model", f"{card.name}, version {card.version}, created {card.provenance.created}"),
        ("Trained on", f"{card.provenance.dataset}, sha256 {card.provenance.dataset_sha256}"),
        ("Scored on", f"{cases} {split} {'case' if cases == 1 else 'cases'} of {dataset.name}"),
        ("Distances", distances_in_words(evaluation)),
        ("Command", called("training.evaluate", *command)),
        ("Intended use", card.intended_use),
    ]
