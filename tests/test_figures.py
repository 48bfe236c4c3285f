"""Each measured figure of a table in README and docs is in the file that its section names."""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import seg

ROOT = Path(seg.__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FIGURE = re.compile(r"(?<![\w.])(?<!\w-)\d[\d,]*\.\d+(?![\d.]*\w)")
FILE = re.compile(r"\]\(([^)]+\.(?:json|csv))\)")
MEASURED = 3
"""Decimals that make a table one of measurements; settings and versions have fewer."""
SETTINGS = {
    "name": "versions of the distributions that carry data",
    "decision": "rules of the planner",
    "what": "bounds of warnings",
}
"""Tables by the first cell of their head whose decimals are not measured, and what they are."""
UNITS = (1.0, 100.0, 1000.0, 1e-3, 1 / 60, 1 / 1024, 1 / 1024**2, 1 / 1024**3)
"""Shares as percents, seconds as milliseconds or minutes, bytes as MiB or GiB."""


class Table(NamedTuple):
    page: Path
    line: int
    rows: list[str]
    files: list[Path]

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def figures(rows: list[str]) -> list[str]:
    """Decimals of the cells, without those in code, links and versions."""
    plain = [re.sub(r"`[^`]*`|\]\([^)]*\)", "", row) for row in rows]
    return [figure for row in plain for figure in FIGURE.findall(row)]


def tables() -> Iterator[Table]:
    for page in PAGES:
        sections = re.split(r"(?m)^(?=#)", page.read_text(encoding="utf-8"))
        line = 1
        for section in sections:
            files = [(page.parent / name).resolve() for name in FILE.findall(section)]
            for found in re.finditer(r"(?m)(?:^\|.*\n?)+", section):
                rows = found.group().splitlines()
                start = line + section[: found.start()].count("\n")
                head = rows[0].strip("| ").split(" | ")[0]
                if head not in SETTINGS and len(figures(rows)) >= MEASURED:
                    yield Table(page, start, rows, files)
            line += section.count("\n")


def numbers(content: object) -> Iterator[float]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield from numbers(key)
            yield from numbers(value)
    elif isinstance(content, list):
        for value in content:
            yield from numbers(value)
    elif isinstance(content, str):
        yield from (float(text) for text in re.findall(r"\d+\.?\d*", content))
    elif isinstance(content, int | float) and not isinstance(content, bool):
        yield abs(float(content))


def known(files: list[Path]) -> list[float]:
    found: list[float] = []
    for file in files:
        text = file.read_text(encoding="utf-8")
        content = (
            json.loads(text) if file.suffix == ".json" else list(csv.reader(text.splitlines()))
        )
        found += numbers(content)
    return found


def is_known(figure: str, values: list[float]) -> bool:
    decimals = len(figure.partition(".")[2])
    shown = float(figure.replace(",", ""))
    return any(
        abs(round(value * unit, decimals) - shown) < 0.51 * 10**-decimals
        for value in values
        for unit in UNITS
    )


ALL = list(tables())


def test_tables_of_measurements_are_found():
    assert len(ALL) > 10


@pytest.mark.parametrize("table", ALL, ids=str)
def test_every_figure_of_a_table_is_in_a_file_that_its_section_links(table):
    assert table.files, "no file of results is linked in this section"
    values = known(table.files)
    assert [figure for figure in figures(table.rows) if not is_known(figure, values)] == []
