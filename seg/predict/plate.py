"""Objects of the wells of plates: a row a well, with what its layout says of it."""

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from seg.errors import ConfigError
from seg.images.zarr.write_plate import write_label_plate
from seg.predict.fields import Repeated, repeated_fields
from seg.predict.tables import Row, write_rows
from seg.tables.comma_separated import column_called, read_any_table

_PLACE = r"{start}(?:[Ww]ell ?)?{row}(?: ?- ?)?{column}(?![0-9A-Za-z])"
_ANYWHERE, _FIRST = "(?<![A-Za-z0-9])", "^"
_ROW, _SMALL, _LATE = "([A-P]|A[A-F])", "(?i:([A-P]|A[A-F]))", "([Q-Z])"
_PADDED, _PLAIN = "(0{1,2}[1-9]|0?[1-3][0-9]|0?4[0-8])", "([1-9])"
PATTERNS = (
    re.compile(_PLACE.format(start=_ANYWHERE, row=_ROW, column=_PADDED)),
    # rows and columns as numbers, as Opera and Operetta write them
    re.compile(r"(?<![A-Za-z0-9])r(\d\d)c(\d\d)(?=[^0-9]|$)"),
    re.compile(_PLACE.format(start=_ANYWHERE, row=_ROW, column=_PLAIN)),
    # these are channels, fields and moments as well, so they tell a well as the first word only
    *(
        re.compile(_PLACE.format(start=_FIRST, row=row, column=column))
        for column in (_PADDED, _PLAIN)
        for row in (_SMALL, _LATE)
    ),
)
"""Of wells in names and folders, the surest first."""
WORDS = re.compile(r"[_\s.]+")
AREA, UNIT = "area", "unit"
MEASURED = (AREA, "intensity_mean-")
"""Columns of objects, by what they begin with, whose mean a well gets."""
WELL, PLATE, PLACE = "well", "plate", ("row", "column")
COUNTED = re.compile(f"(images|images_failed|{UNIT})$|(objects|low|high)_|mean_(area|intensity)")
"""Columns of wells that a layout cannot have as well: they tell what was found."""
LABEL_PLATE = ".instances.ome.zarr"
"""Ending of a plate of label images."""
IMAGE_NAME = re.compile("[A-Za-z0-9]+")
"""Of an image of a well, as OME-Zarr wants it."""


@dataclass(frozen=True)
class Well:
    """A place on a plate."""

    plate: str
    """The folder of its files, or of the folders called after wells; empty where there is none."""
    row: str
    column: int

    @property
    def name(self) -> str:
        """As people write it: B03."""
        return f"{self.row}{self.column:02d}"

    @property
    def order(self) -> tuple[str, int, str, int]:
        """As they stand on their plates: row AA follows Z."""
        return self.plate, len(self.row), self.row, self.column


def well_of(case: str) -> Well | None:
    """The well that a case's name, or a folder of it, tells; None where none is told.

    Raises:
        ConfigError: it may tell several.
    """
    parts = [WORDS.sub(" ", part) for part in case.split("/")]
    places = reversed(range(len(parts)))
    for pattern, place in product(PATTERNS, places):
        plate = "/".join(case.split("/")[:place])
        wells = {_well(plate, *found.groups()) for found in pattern.finditer(parts[place])}
        if len(wells) > 1:
            told = " or ".join(sorted(well.name for well in wells))
            raise ConfigError(
                f"{case} may be of well {told}; put the images of a well into a folder that is "
                "called after it, and look there with -r"
            )
        if wells:
            return wells.pop()
    return None


def _well(plate: str, row: str, column: str) -> Well:
    letters = _letters(int(row)) if row.isdecimal() else row.upper()
    return Well(plate, letters, int(column))


def _letters(row: int) -> str:
    """A for 1, AA for 27."""
    tens, ones = divmod(row - 1, 26)
    return ("A" if tens else "") + chr(ord("A") + ones)


class PlateLayout:
    """What a table says of wells, as of doses."""

    def __init__(self, path: Path) -> None:
        """Read it.

        Raises:
            ConfigError: it is no table with a column for wells, or tells one twice.
        """
        try:
            columns, rows = read_any_table(path.read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise ConfigError(f"{path} cannot be read as a CSV table: {error}") from error
        own_well, own_plate = (column_called(name, columns) for name in (WELL, PLATE))
        if own_well is None:
            raise ConfigError(f"{path} has no column {WELL}; its first row names the columns")
        self.columns = [name for name in columns if name not in (own_well, own_plate, *PLACE)]
        if taken := [name for name in self.columns if COUNTED.match(name)]:
            raise ConfigError(
                f"{path} has a column {taken[0]}, as the table of wells has; call it otherwise"
            )
        self._rows: dict[tuple[str, str], Mapping[str, str]] = {}
        for number, row in enumerate(rows, start=2):
            found = well_of(str(row[own_well] or "").strip())
            if found is None:
                raise ConfigError(
                    f"{path}, line {number}: {row[own_well]!r} is no well such as B03"
                )
            plate = row.get(own_plate) if own_plate else None
            key = (str(plate or "").strip(), found.name)
            if key in self._rows:
                raise ConfigError(f"{path}, line {number}: {found.name} was told before")
            self._rows[key] = row

    def of(self, well: Well) -> Mapping[str, str]:
        """What is told of a well; a row without a plate is of all plates."""
        row = self._rows.get((well.plate, well.name)) or self._rows.get(("", well.name), {})
        return {name: row.get(name) or "" for name in self.columns}

    def wells(self, plates: Iterable[str]) -> set[Well]:
        """All that it tells, on these plates."""
        found = set()
        for plate, name in self._rows:
            told = well_of(name)
            assert told is not None
            for each in [plate] if plate else plates:
                found.add(Well(each, told.row, told.column))
        return found


@dataclass
class _Sums:
    """Of the images of a well."""

    images: int = 0
    failed: int = 0
    numbers: Counter[str] = field(default_factory=Counter)
    unknown: set[str] = field(default_factory=set)
    """Columns that one image at least has no value for."""
    totals: dict[str, list[float]] = field(default_factory=lambda: defaultdict(lambda: [0.0, 0.0]))
    """By column: the sum over objects, and how many they are."""
    units: set[str] = field(default_factory=set)
    """In which objects were measured."""


class Plate:
    """Adds up images."""

    def __init__(self, layout: PlateLayout | None = None) -> None:
        """With what is known of the wells, if anything."""
        self._layout = layout
        self._wells: dict[Well, _Sums] = defaultdict(_Sums)
        self.without_well: list[str] = []
        """Cases whose name tells none."""
        self.repeated: Repeated | None = None
        """Images that show one field at several moments or in several planes."""

    def check(self, cases: Sequence[str]) -> None:
        """Pass where the names of images tell wells; before any is segmented.

        Raises:
            ConfigError: none does, one may tell several, or they are channels of one image.
        """
        of_wells: dict[Well, list[str]] = defaultdict(list)
        for case in cases:
            if (well := well_of(case)) is not None:
                of_wells[well].append(case)
        if not of_wells:
            raise ConfigError(
                "no image tells a well such as B03 in its name or in a folder of it, so there is "
                "no plate to add up; leave --plate out, or look into folders with -r"
            )
        for repeated in repeated_fields(of_wells.values()):
            if repeated.kind == "channels":
                raise ConfigError(
                    f"{repeated.first} and {repeated.second} are channels of one field by their "
                    "names, and their objects would be added up; give the files of one of them"
                )
            self.repeated = repeated

    def put(self, case: str, counts: Row, objects: Iterable[Row]) -> None:
        """Take an image: its counts as the table of quality has them, and its objects."""
        sums = self._sums_of(case)
        if sums is None:
            return
        sums.images += 1
        for name, value in counts.items():
            if name.startswith(("objects_", "low_", "high_")) and name != "objects_":
                if value in (None, ""):
                    sums.unknown.add(name)
                else:
                    sums.numbers[name] += int(float(str(value)))
        for row in objects:
            if row.get(UNIT):
                sums.units.add(str(row[UNIT]))
            for name, value in row.items():
                if name.startswith(MEASURED) and value not in (None, ""):
                    pair = sums.totals[f"{name}_{row.get('class')}"]
                    pair[0] += float(str(value))
                    pair[1] += 1

    def put_failed(self, case: str) -> None:
        """Take an image of which nothing is known."""
        sums = self._sums_of(case)
        if sums is not None:
            sums.failed += 1

    def _sums_of(self, case: str) -> _Sums | None:
        well = well_of(case)
        if well is None:
            self.without_well.append(case)
            return None
        return self._wells[well]

    def rows(self) -> list[dict[str, str | int | float | None]]:
        """A row for each well, those of the layout without an image too."""
        if self._layout is not None:
            plates = {well.plate for well in self._wells} or {""}
            for well in self._layout.wells(plates):
                self._wells[well]  # makes it
        counted = sorted({name for sums in self._wells.values() for name in sums.numbers})
        measured = sorted({name for sums in self._wells.values() for name in sums.totals})
        return [
            self._row(well, self._wells[well], counted, measured)
            for well in sorted(self._wells, key=lambda well: well.order)
        ]

    def _row(
        self, well: Well, sums: _Sums, counted: Sequence[str], measured: Sequence[str]
    ) -> dict[str, str | int | float | None]:
        row: dict[str, str | int | float | None] = {}
        if any(each.plate for each in self._wells):
            row[PLATE] = well.plate
        row |= {WELL: well.name, "row": well.row, "column": well.column}
        row |= self._layout.of(well) if self._layout else {}
        row |= {"images": sums.images, "images_failed": sums.failed}
        for name in counted:
            is_known = sums.images and name not in sums.unknown
            row[name] = sums.numbers[name] if is_known else None
        for name in measured:
            total, count = sums.totals.get(name, (0.0, 0.0))
            is_mixed = name.startswith(AREA) and len(sums.units) > 1
            row[f"mean_{name}"] = float(f"{total / count:.6g}") if count and not is_mixed else None
        if any(each.units for each in self._wells.values()):
            row[UNIT] = " and ".join(sorted(sums.units))
        return row

    def write(self, path: Path) -> None:
        """Write the table, whole or not at all."""
        rows = self.rows()
        write_rows(path, list(rows[0]) if rows else [WELL], rows)


def write_label_plates(files: Mapping[str, Path], failed: Collection[str], out: Path) -> None:
    """Write a folder for each plate with the label images of its wells.

    An image of a well keeps its name where all of them have one of letters and digits; else they
    are numbered, those that failed too, so that a second run gives the same numbers.

    Args:
        files: by case its label image, an OME-Zarr in a ZIP file.
        failed: cases without one.
        out: the folder of the plates.
    """
    cases_of: dict[Well, list[str]] = defaultdict(list)
    for case in files:
        well = well_of(case)
        if well is not None:
            cases_of[well].append(case)
    plates: dict[str, dict[tuple[str, int], dict[str, Path]]] = defaultdict(dict)
    for well in sorted(cases_of, key=lambda well: well.order):
        cases = cases_of[well]
        names = [case.rpartition("/")[2] for case in cases]
        if len(set(names)) < len(names) or not all(map(IMAGE_NAME.fullmatch, names)):
            names = [str(number) for number in range(len(cases))]
        images = {
            name: files[case] for name, case in zip(names, cases, strict=True) if case not in failed
        }
        if images:
            plates[well.plate][well.row, well.column] = images
    for plate, wells in plates.items():
        name = plate or "plate"
        rows = list(dict.fromkeys(row for row, _ in wells))
        write_label_plate(out / f"{name}{LABEL_PLATE}", name, wells, rows)
