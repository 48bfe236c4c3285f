"""Each measured figure in README and docs is in a file of results that its section names."""

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


FINE = re.compile(r"\.\d{3,}$")
"""What nobody writes who did not measure; settings stand as code."""


class Written(NamedTuple):
    """A table, or what is written around the tables of a section."""

    page: Path
    line: int
    figures: list[str]
    files: list[Path]

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def figures(text: str) -> list[str]:
    """Decimals, without those in code, links and versions."""
    found: list[str] = FIGURE.findall(re.sub(r"`[^`]*`|\]\([^)]*\)", "", text))
    return found


def sections() -> Iterator[tuple[Path, int, str, list[Path]]]:
    """Page, first line, text without blocks of code, files of results."""
    for page in PAGES:
        line = 1
        for section in re.split(r"(?m)^(?=#)", page.read_text(encoding="utf-8")):
            files = [(page.parent / name).resolve() for name in FILE.findall(section)]
            code = re.compile(r"(?ms)^```.*?^```$")
            yield page, line, code.sub(lambda m: "\n" * m.group().count("\n"), section), files
            line += section.count("\n")


ROWS = re.compile(r"(?m)(?:^\|.*\n?)+")


def tables() -> Iterator[Written]:
    for page, line, section, files in sections():
        for found in ROWS.finditer(section):
            start = line + section[: found.start()].count("\n")
            head = found.group().splitlines()[0].strip("| ").split(" | ")[0]
            if head not in SETTINGS and len(figures(found.group())) >= MEASURED:
                yield Written(page, start, figures(found.group()), files)


def texts() -> Iterator[Written]:
    for page, line, section, files in sections():
        fine = [figure for figure in figures(ROWS.sub("", section)) if FINE.search(figure)]
        if fine:
            yield Written(page, line, fine, files)


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


TABLES, TEXTS = list(tables()), list(texts())


def test_tables_and_texts_with_measurements_are_found():
    assert len(TABLES) > 10
    assert len(TEXTS) > 5


@pytest.mark.parametrize("place", TABLES + TEXTS, ids=str)
def test_every_measured_figure_is_in_a_file_that_its_section_links(place):
    assert place.files, "no file of results is linked in this section"
    values = known(place.files)
    assert [figure for figure in place.figures if not is_known(figure, values)] == []
