"""The table that says of each object its class: columns case, label and class."""

from collections.abc import Mapping
from pathlib import Path

from seg.files import replace_file
from seg.tables.comma_separated import csv_text, read_csv
from service.problems.response import Problem

COLUMNS = ("case", "label", "class")


def note_objects(table: Path, case: str, objects: Mapping[int, str]) -> None:
    """Replace the rows of a case."""
    rows = [row for row in _rows(table) if row["case"] != case]
    rows += [
        {"case": case, "label": str(number), "class": name} for number, name in objects.items()
    ]
    columns = [*COLUMNS, *(name for name in (rows[0] if rows else ()) if name not in COLUMNS)]
    replace_file(table, csv_text(columns, rows).encode(), mode=0o600)


def objects_in(table: Path, case: str) -> dict[int, str]:
    """Class of each object of a case.

    Raises:
        Problem: 409, the table cannot be read.
    """
    try:
        return {int(row["label"]): row["class"] for row in _rows(table) if row["case"] == case}
    except (KeyError, TypeError, ValueError):
        raise Problem(409, f"{table.name} there has no columns {', '.join(COLUMNS)}") from None


def _rows(table: Path) -> list[dict[str, str]]:
    try:
        text = table.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return list(read_csv(text.splitlines()))
