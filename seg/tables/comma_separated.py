"""CSV that a spreadsheet may open: no text in it begins like a formula.

A file called ``=cmd|...`` or a class called ``+dead`` would be computed, or be ``#NAME?``. Such a
text gets an apostrophe before it, which is taken away again where we read. Numbers stay numbers.

Source: OWASP, CSV Injection.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

Cell = object
"""A text or a number; None is an empty cell."""


@runtime_checkable
class _Written(Protocol):
    def write(self, text: str, /) -> int: ...


_FORMULA = re.compile("'*[=+\\-@\\t\\r\\n\uff1d\uff0b\uff0d\uff20]")
"""How a text begins that is taken for a formula, or that was one and has been marked."""
_MARKED = re.compile(f"'{_FORMULA.pattern}")


def as_cell(value: Cell) -> Cell:
    """What is written for a value; a text that begins like a formula is marked as text."""
    if isinstance(value, str) and _FORMULA.match(value) and not _is_number(value):
        return f"'{value}"
    return value


def from_cell(text: str) -> str:
    """The text that ``as_cell`` was given."""
    return text[1:] if _MARKED.match(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return not text[:1].isspace()


def csv_line(cells: Sequence[Cell], end: str = "\n") -> str:
    """One line, with its end."""
    text = io.StringIO(newline="")
    # of line ends in cells the writer quotes those alone that end its own lines
    csv.writer(text, lineterminator="\r\n").writerow([as_cell(cell) for cell in cells])
    return text.getvalue().removesuffix("\r\n") + end


def write_csv(
    file: _Written,
    columns: Sequence[str],
    rows: Iterable[Mapping[str, Cell]],
    *,
    end: str = "\n",
) -> None:
    """Write a head and the rows.

    Args:
        file: opened without translation of line ends.
        columns: in their order; a row has no others.
        rows: may lack columns.
        end: of a line.
    """
    file.write(csv_line(columns, end))
    known = frozenset(columns)
    for row in rows:
        if strange := row.keys() - known:
            raise ValueError(f"the table has no columns {', '.join(map(str, strange))}")
        file.write(csv_line([row.get(name) for name in columns], end))


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Cell]], *, end: str = "\n") -> str:
    """A head and the rows."""
    text = io.StringIO(newline="")
    write_csv(text, columns, rows, end=end)
    return text.getvalue()


def read_csv(lines: Iterable[str], delimiter: str = ",") -> Iterator[dict[str, str]]:
    """Rows by column, as they were before they were marked; as ``csv.DictReader`` else.

    Raises:
        csv.Error: it is no such table.
    """
    reader = csv.DictReader(lines, delimiter=delimiter)
    for row in reader:
        yield {
            from_cell(name) if isinstance(name, str) else name: (
                from_cell(value) if isinstance(value, str) else value
            )
            for name, value in row.items()
        }


def read_any_table(text: str) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows of a table as spreadsheets of any country write it.

    What parts the columns is what its head holds most of: commas, semicolons or tabs.

    Raises:
        csv.Error: it is no such table.
    """
    head = text.lstrip().partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    rows = list(read_csv(io.StringIO(text, newline=""), delimiter))
    columns = next(csv.reader([head.rstrip("\r")], delimiter=delimiter), [])
    return [from_cell(name) for name in columns], rows


def column_called(name: str, columns: Sequence[str]) -> str | None:
    """The column of that name; capitals and spaces around do not count where none is the same."""
    alike = [each for each in columns if each.strip().lower() == name.lower()]
    return name if name in columns else alike[0] if len(alike) == 1 else None
