"""CSV files with rows of many cases, which survive a stop and a restart."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic

from seg.errors import ConfigError
from seg.files import replace_file

Row = Mapping[str, str | int | float | None]

CASE = "case"
LEFT_OUT = "left_out"
"""Column that says why a file is no case."""
SECONDS_BETWEEN_SAVES = 5.0


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
        try:
            with path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from error
        if any(not row.get(CASE) for row in rows):
            raise ConfigError(f"{path} is not a table of cases; move it away")
        for row in rows:
            name = row.pop(CASE)
            self._rows[name] = (*self._rows.get(name, ()), row)

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
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(columns), lineterminator="\n")
        writer.writeheader()
        for case, rows in sorted(self._rows.items()):
            writer.writerows({CASE: case, **row} for row in rows)
        replace_file(self._path, text.getvalue().encode())
        self._saved = monotonic()
