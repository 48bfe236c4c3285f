"""Files that show one field of a well again: another channel, plane or moment of it.

Microscopes write them beside each other, under names that differ in one number. Added up, a cell
counts as often as there are files.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

_BEFORE, _END = "(?<![A-Za-z])", "(?![0-9])"
_GUID = "(?:[0-9A-Fa-f]{8}-[0-9A-Fa-f-]{20,})?"
Kind = Literal["channels", "planes or moments"]
MARKS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    # _w1 of MetaXpress, with a number of its own for each file behind it; _ch00 of Leica and others
    ("channels", re.compile(rf"{_BEFORE}(?:[Ww][0-9]{_GUID}|(?:ch|Ch|CH)[0-9]{{1,3}}){_END}")),
    # z3, _t04; f01p02 and ch1sk3 of Opera and Operetta
    (
        "planes or moments",
        re.compile(
            rf"{_BEFORE}[ztZT][0-9]{{1,4}}(?![0-9A-Za-z])|(?<=f[0-9][0-9])p[0-9]+|(?<=[0-9])sk[0-9]+"
        ),
    ),
)
"""What stands in names, the surer first."""


class Repeated(NamedTuple):
    """Two images of one field."""

    kind: Kind
    first: str
    second: str


def repeated_fields(cases_of_wells: Iterable[Sequence[str]]) -> list[Repeated]:
    """Of each kind two images of a well whose names say that they show one field.

    Args:
        cases_of_wells: names of the images of each well.
    """
    found: dict[Kind, Repeated] = {}
    for cases in cases_of_wells:
        for kind, mark in MARKS:
            fields = defaultdict(list)
            for case in cases:
                if mark.search(case):
                    fields[mark.sub("#", case)].append(case)
            several = next((each for each in fields.values() if len(each) > 1), None)
            if several and kind not in found:
                found[kind] = Repeated(kind, *several[:2])
    return list(found.values())
