"""Rows of a study: grouped, averaged over seeds, compared, written as CSV.

Letters: ``n`` points.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from seg.metrics import Estimate, student_mean
from seg.tables.comma_separated import csv_text
from training.studies.runs import Row, Table

FEWEST_SEEDS = 2
"""That an interval takes."""


@dataclass(frozen=True, eq=False)
class Curve:
    """Means over seeds, with their standard deviation as error."""

    x: Float64[np.ndarray, " n"]
    mean: Float64[np.ndarray, " n"]
    error: Float64[np.ndarray, " n"]

    def at(self, x: float) -> float:
        """The mean at one of the curve's points."""
        return float(self.mean[int(np.argmin(np.abs(self.x - x)))])


def where(table: Table, **columns: str | float) -> Table:
    """The rows that have these values."""
    return [row for row in table if all(row[name] == value for name, value in columns.items())]


def values(table: Table, column: str) -> list[str | int | float]:
    """The different values of a column, in the order in which they appear."""
    return list(dict.fromkeys(row[column] for row in table))


def deepest(table: Table) -> Table:
    """The rows of the deepest networks."""
    return where(table, layers=max(int(n) for n in values(table, "layers")))


def names(table: Table) -> list[str]:
    """The networks of a table."""
    return [str(name) for name in values(table, "network")]


def curve(table: Table, x: str, y: str) -> Curve:
    """``y`` over ``x``: first averaged within each seed, then over seeds."""
    points = sorted({float(row[x]) for row in table})
    spread = [_by_seed([row for row in table if float(row[x]) == point], y) for point in points]
    return Curve(
        np.array(points),
        np.array([np.mean(each) for each in spread]),
        np.array([np.std(each, ddof=1) if len(each) > 1 else 0.0 for each in spread]),
    )


def mean(table: Table, column: str) -> tuple[float, float]:
    """Mean and standard deviation over seeds."""
    each = _by_seed(table, column)
    return float(np.mean(each)), float(np.std(each, ddof=1)) if len(each) > 1 else 0.0


def change(before: Table, after: Table, column: str) -> Estimate | None:
    """``after`` less ``before``, seed by seed: networks of one seed saw the same patches."""
    one, other = _seeds(before, column), _seeds(after, column)
    return student_mean([other[seed] - one[seed] for seed in one if seed in other])


def in_words(estimate: Estimate | None, form: str = "+.3f") -> str:
    """A change with its interval, or that one seed has none."""
    if estimate is None:
        return "one seed, no interval"
    low, high = format(estimate.low, form), format(estimate.high, form)
    return f"{format(estimate.mean, form)}, {low} to {high}"


def rises(estimate: Estimate | None) -> bool:
    """The whole interval lies above 0."""
    return estimate is not None and estimate.low > 0


def falls(estimate: Estimate | None) -> bool:
    """The whole interval lies below 0."""
    return estimate is not None and estimate.high < 0


def _by_seed(table: Iterable[Row], column: str) -> list[float]:
    return list(_seeds(table, column).values())


def _seeds(table: Iterable[Row], column: str) -> dict[str | int | float, float]:
    """Mean of a column within each seed."""
    seeds: dict[str | int | float, list[float]] = {}
    for row in table:
        seeds.setdefault(row["seed"], []).append(float(row[column]))
    return {seed: float(np.mean(each)) for seed, each in seeds.items()}


KEYS = ("network", "layers", "time", "quantity", "lesion", "where", "block", "count", "step")
"""Columns that say what a row is about; the others, but the seed, are measured."""


def summary(table: Table) -> Table:
    """Each measured column over seeds: mean, and the ends of its interval where there is one."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in table:
        groups.setdefault(tuple(row.get(key) for key in KEYS), []).append(row)
    rows: list[Row] = []
    for rows_of_group in groups.values():
        about = {key: rows_of_group[0][key] for key in KEYS if key in rows_of_group[0]}
        for column in rows_of_group[0]:
            if column in KEYS or column == "seed":
                continue
            each = _by_seed(rows_of_group, column)
            row = {**about, "measured": column, "mean": float(np.mean(each)), "seeds": len(each)}
            if (interval := student_mean(each)) is not None:
                row |= {"low": interval.low, "high": interval.high}
                row["deviation"] = float(np.std(each, ddof=1))
            rows.append(row)
    return rows


def as_csv(table: Table) -> bytes:
    """All rows; a column that a row lacks stays empty."""
    columns = list(dict.fromkeys(name for row in table for name in row))
    rows = ({name: _shown(value) for name, value in row.items()} for row in table)
    return csv_text(columns, rows).encode()


def _shown(value: str | int | float) -> str | int:
    return f"{value:.6g}" if isinstance(value, float) else value
