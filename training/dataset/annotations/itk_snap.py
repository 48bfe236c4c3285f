"""ITK-SNAP: a table of labels beside segmentations that are volumes of numbers.

Source: the head of the files themselves, "ITK-SnAP Label Description File".
"""

import re
from dataclasses import dataclass
from pathlib import Path

TITLE = "ITK-SnAP Label Description File"
ENDINGS = (".label", ".txt", ".labels")
_ROW = re.compile(r'\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+[\d.]+\s+\d\s+\d\s+"(.*)"\s*')
_LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class LabelRow:
    """A line of the table."""

    value: int
    name: str
    color: tuple[int, int, int]


def label_tables(*folders: Path) -> list[Path]:
    """The tables that lie in these folders."""
    return [
        path
        for folder in folders
        if folder.is_dir()
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in ENDINGS and path.is_file() and TITLE in _beginning(path)
    ]


def read_labels(path: Path) -> tuple[LabelRow, ...]:
    """Its rows by value; the first, 0, is ITK-SNAP's "Clear Label"."""
    rows = []
    for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines():
        if match := _ROW.fullmatch(line):
            red, green, blue = (min(int(match[n]), 255) for n in (2, 3, 4))
            rows.append(LabelRow(int(match[1]), match[5].strip(), (red, green, blue)))
    return tuple(sorted(rows, key=lambda row: row.value))


def _beginning(path: Path) -> str:
    if path.stat().st_size > _LARGEST:
        return ""
    with path.open("rb") as file:
        return file.read(500).decode("utf-8", "replace")
