"""CSV files with rows of many cases, which survive a stop and a restart."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from time import monotonic

from seg.errors import ConfigError
from seg.files import replaced_file
from seg.tables.comma_separated import read_csv, write_csv

Row = Mapping[str, str | int | float | None]

CASE = "case"
LEFT_OUT = "left_out"
"""Column that says why a file is no case."""
SECONDS_BETWEEN_SAVES = 5.0


def rows_by_case(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Each row of a table in a file, with its case.

    Raises:
        ConfigError: it is no such table, or cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in read_csv(file):
                case = row.pop(CASE, None)
                if not case:
                    raise ConfigError(f"{path} is not a table of cases; move it away")
                yield case, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Write a table, whole or not at all."""
    with replaced_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        write_csv(file, columns, rows)


class Table:
    """Rows by case; those of an earlier run are kept until their case is done again."""

    def __init__(self, path: Path) -> None:
        """Read the table, or begin one.

        Raises:
            ConfigError: there is a file of that name that is no such table.
        """
        self._path = path
        self._rows: dict[str, Sequence[Row]] = {}
        self._saved = monotonic()
        if not path.exists():
            return
        for case, row in rows_by_case(path):
            self._rows[case] = (*self._rows.get(case, ()), row)

    def __contains__(self, case: str) -> bool:
        """Whether the case has been done."""
        return case in self._rows

    def says(self, case: str, column: str) -> str | int | float | None:
        """What the first row of a case has there; None without such a row or column."""
        return next((row.get(column) for row in self._rows.get(case, ())), None)

    def rows_of(self, case: str) -> Sequence[Row]:
        """Those of a case."""
        return self._rows.get(case, ())

    def leave_out(self, reasons: Mapping[str, str]) -> None:
        """Rows of files that are no cases, in place of those of an earlier run."""
        told = [case for case, rows in self._rows.items() if rows and rows[0].get(LEFT_OUT)]
        for case in told:
            del self._rows[case]
        self._rows |= {file: ({LEFT_OUT: reason},) for file, reason in reasons.items()}

    def put(self, case: str, rows: Sequence[Row]) -> None:
        """Take the rows of a case in place of older ones; saved after some seconds."""
        self._rows[case] = rows
        if monotonic() - self._saved > SECONDS_BETWEEN_SAVES:
            self.save()

    def save(self) -> None:
        """Write the table, whole or not at all."""
        columns: dict[str, None] = {CASE: None}
        for rows in self._rows.values():
            for row in rows:
                columns |= dict.fromkeys(row)
        of_cases = sorted(self._rows.items())
        write_rows(
            self._path, list(columns), ({CASE: case, **row} for case, of in of_cases for row in of)
        )
        self._saved = monotonic()
