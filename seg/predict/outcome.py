"""What became of a case, and its rows of the tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from seg.errors import SegError
from seg.inference import Quality, WindowCounts
from seg.objects import Count
from seg.predict.cases import PredictionCase
from seg.predict.tables import Row

SETTINGS = "settings"
"""Column of the quality table: what the row's mask was made with."""
COUNTED = "objects_"
"""Begins the columns that hold the number of objects of a class."""


@dataclass(frozen=True)
class Outcome:
    """What became of a case."""

    case: str
    failure: str | None = None
    """A sentence; None where all went well."""
    is_skipped: bool = False
    """It was finished before."""
    warnings: tuple[str, ...] = ()
    quality: Row = field(default_factory=dict)
    measurements: Sequence[Row] = ()
    objects: Sequence[Row] = ()
    object_file: Path | None = None
    """Holds them where they are too many: a line of JSON each; it goes once they are taken over."""


def failed(case: PredictionCase, error: Exception) -> Outcome:
    """An outcome that says in a sentence why there is no mask."""
    if isinstance(error, SegError):
        sentence = str(error)
    elif isinstance(error, OSError):
        sentence = error.strerror or str(error)
    elif isinstance(error, MemoryError):
        sentence = "not enough memory"
    else:
        sentence = f"unexpected {type(error).__name__}, please report it: {error}"
    return Outcome(case.name, failure=sentence)


def quality_row(quality: Quality, windows: WindowCounts, **made_with: str | float | None) -> Row:
    """What is known of how good a mask is, with columns of what it was ``made_with``."""
    row: dict[str, str | int | float | None] = {
        "warnings": "; ".join(quality.warnings),
        "uncertainty": _rounded(quality.uncertainty),
        "windows": windows.total,
        "windows_skipped": windows.skipped,
        **made_with,
    }
    if quality.strangeness is not None:
        row["strangeness"] = _rounded(quality.strangeness)
    if quality.disagreement is not None:
        row["disagreement"] = _rounded(quality.disagreement)
    for name, dice in quality.predicted_dice.items():
        row[f"predicted_dice_{name}"] = _rounded(dice)
        row[f"expected_error_{name}"] = _rounded(quality.expected_error.get(name))
        if name in quality.interval:
            low, high = quality.interval[name]
            row[f"lowest_dice_{name}"], row[f"highest_dice_{name}"] = map(_rounded, (low, high))
    return row


def counts_row(counts: Mapping[str, Count]) -> Row:
    """How many objects there are, with their interval where the model has one."""
    row: dict[str, str | int | float | None] = {}
    for name, count in counts.items():
        low, high = count.interval or (None, None)
        row |= {f"{COUNTED}{name}": count.found, f"low_{name}": low, f"high_{name}": high}
    return row


def counted_in(row: Row) -> int | None:
    """How many objects a row of the quality table says that there are; None where it does not."""
    said = [str(row[column]) for column in row if column.startswith(COUNTED) and row[column] != ""]
    return sum(map(int, said)) if said and all(map(str.isdecimal, said)) else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
