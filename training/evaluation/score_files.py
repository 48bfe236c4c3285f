"""Scores as files and as text: ``metrics.json``, one row a case and class as CSV, a table."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from seg.errors import ConfigError
from seg.files import replace_file
from seg.tables.comma_separated import csv_text
from training.evaluation.object_scores import object_table
from training.evaluation.scores import (
    MEASURES,
    CaseScore,
    Evaluation,
    Interval,
    Measure,
    Summary,
    in_digits,
)

NAMED = 3
"""Cases, in a sentence."""
COUNTS = ("voxels_predicted", "voxels_reference")
COLUMNS = (
    *("case", "class", "dice", "iou", "surface_dice", "hd95", "unit", "volume_error", "ece"),
    *COUNTS,
)


def write_metrics(evaluation: Evaluation, path: Path) -> None:
    """Write ``metrics.json``, whole or not at all.

    Raises:
        ConfigError: the path cannot be written.
    """
    _write(path, evaluation.model_dump_json(indent=2) + "\n")


def write_rows(evaluation: Evaluation, path: Path) -> None:
    """Write one row a case and class as CSV, worst cases first; what is not known is left empty.

    Raises:
        ConfigError: the path cannot be written.
    """
    unscored = [case for case in evaluation.cases if case.mean_dice is None]
    rows = (row for case in (*evaluation.ranked, *unscored) for row in _rows(case, evaluation))
    _write(path, csv_text(COLUMNS, rows))


def _rows(case: CaseScore, evaluation: Evaluation) -> Iterator[dict[str, object]]:
    for name in evaluation.summary:
        score = case.region(name)
        if score is not None:
            yield {"case": case.case, "class": name, "unit": case.unit} | {
                column: getattr(score, column) for column in COLUMNS if hasattr(score, column)
            }


def _write(path: Path, text: str) -> None:
    try:
        replace_file(path, text.encode())
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def read_metrics(path: Path) -> Evaluation:
    """Read ``metrics.json`` back.

    Raises:
        ConfigError: the file is missing or is not what ``write_metrics`` wrote.
    """
    try:
        return Evaluation.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "its beginning"
        raise ConfigError(f"{path} is no metrics.json: {first['msg']} at {where}") from error


def summary_table(evaluation: Evaluation) -> str:
    """The summary for a terminal."""
    width = max(len("class"), *(len(name) for name in evaluation.summary))
    head = f"{'class':{width}}  Dice   95 % interval   pooled  thresholding  cases  IoU    "
    head += f"surface Dice  {'HD95 ' + evaluation.unit:11}  volume error"
    rows = [_row(name.ljust(width), each) for name, each in evaluation.summary.items()]
    objects = object_table(evaluation.objects)
    return "\n".join(
        [
            head,
            *rows,
            *([distances_in_words(evaluation)] if rows else []),
            *filter(
                None, [own_outlines_in_words(evaluation), subjects_in_words(evaluation), objects]
            ),
        ]
    )


def subjects_in_words(evaluation: Evaluation) -> str:
    """What intervals were drawn from, where cases are of fewer subjects."""
    cases, subjects = len(evaluation.cases), len({case.group for case in evaluation.cases})
    if subjects == cases:
        return ""
    drawn = "1 subject: none has" if subjects == 1 else f"{subjects} subjects, which are drawn for"
    return f"{cases} cases are of {drawn} {'an interval' if subjects == 1 else 'the intervals'}"


def own_outlines_in_words(evaluation: Evaluation) -> str:
    """Of which cases the reference was drawn over what the model itself had said."""
    own = [case.case for case in evaluation.cases if case.began_with_it]
    if not own:
        return ""
    named = ", ".join(own[:NAMED]) + (", ..." if len(own) > NAMED else "")
    return (
        f"references of {len(own)} of {len(evaluation.cases)} cases ({named}) show the model's own "
        "outlines voxel for voxel, as those do that were drawn over its masks: then the scores are "
        "too good; score on cases that were outlined without this model"
    )


def distances_in_words(evaluation: Evaluation) -> str:
    """In which unit distances are, and within which tolerance outlines agree."""
    if evaluation.tolerance is None:
        return ""
    words = f"surface Dice within {evaluation.tolerance:g} {evaluation.unit}"
    if evaluation.unit == "pixels":
        return f"{words}: the images state no spacing, so distances are in pixels"
    if evaluation.unit == "mm or pixels":
        return f"{words}: some images state no spacing, their distances are in pixels"
    return words


def measure_text(interval: Interval | None, measure: Measure) -> str:
    """A mean for people."""
    return "-" if interval is None else in_digits(interval.mean, measure.digits)


def _row(name: str, score: Summary) -> str:
    interval = f"{score.interval[0]:.3f} to {score.interval[1]:.3f}" if score.interval else "-"
    others = {m.name: measure_text(score.measures.get(m.name), m) for m in MEASURES}
    return (
        f"{name}  {_text(score.dice)}  {interval:14}  {_text(score.dice_pooled)}   "
        f"{_text(score.floor):12}  {score.cases:5}  {_text(score.iou)}  "
        f"{others['surface_dice']:12}  {others['hd95']:11}  {others['volume_error_absolute']}"
    )


def _text(value: float | None) -> str:
    return f"{'-':5}" if value is None else f"{value:.3f}"
