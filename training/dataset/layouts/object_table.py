"""The table that says of which class each numbered object is."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from seg.errors import DatasetError
from seg.tables.comma_separated import column_called
from training.dataset.cases import Case
from training.dataset.dataset_yaml import CARD
from training.dataset.splits import case_called, rows_at
from training.dataset.survey import Survey

COLUMNS = ("case", "label", "class")


def object_table(
    cases: Sequence[Case], file: str, names: Sequence[str], survey: Survey
) -> Mapping[str, Mapping[int, int]]:
    """By case and number of an object the label of its class.

    Args:
        cases: of the dataset.
        file: of the table, beside ``dataset.yaml``.
        names: of the classes, background first.
        survey: takes doubts.

    Raises:
        DatasetError: it cannot be read, lacks a column, names a class that is not there, or says
            two things of one object.
    """
    folder = next(p for p in cases[0].mask.parents if (p / CARD).is_file())
    path = folder / file
    rows = rows_at(path)
    case, label, kind = _columns(path, rows)
    known = [each.name for each in cases]
    table: dict[str, dict[int, int]] = {}
    for row in rows:
        named = (row[kind] or "").strip()
        if named not in names:
            raise DatasetError(f"{path} names the class {named!r}; {CARD} has {', '.join(names)}")
        name, number = case_called(row[case] or "", known), _number(path, row[label])
        of = names.index(named)
        if number == 0 and of:
            raise DatasetError(
                f"{path} says that 0 of case {name} is {named}; 0 is what belongs to no object"
            )
        if table.setdefault(name, {}).setdefault(number, of) != of:
            raise DatasetError(
                f"{path} says two classes of object {number} of case {name}: "
                f"{names[table[name][number]]} and {named}"
            )
    if strange := [name for name in table if name not in known]:
        problem = f"{len(strange)} cases of the table are not there, such as {strange[0]}"
        survey.warning(str(path), problem, "add their images, or look how their names are written")
    return table


def _columns(path: Path, rows: Sequence[Mapping[str, str]]) -> list[str]:
    there = list(rows[0]) if rows else []
    found = []
    for wanted in COLUMNS:
        column = column_called(wanted, there)
        if column is None:
            raise DatasetError(
                f"{path} needs a column {wanted}, it has {', '.join(there) or 'no rows'}"
            )
        found.append(column)
    return found


def _number(path: Path, written: str | None) -> int:
    """Whole, though tables with gaps write 3.0."""
    text = (written or "").strip()
    whole = text.removesuffix(".0")
    if not whole.isdecimal():
        raise DatasetError(f"{path}: a label is a whole number, got {text!r}")
    return int(whole)
