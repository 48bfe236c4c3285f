"""What a client likes best: ``Accept`` and its kin, lists of names with weights.

Source: RFC 9110, 5.3 (a list may come in several lines), 12.4.2 and 12.5.
"""

import re

from starlette.datastructures import Headers

WEIGHT = re.compile(r"\d{1,8}|\d{0,8}\.\d{1,8}|\d{1,8}\.", re.ASCII)
"""Java's own client says ``*/*; q=.2``, which the source does not allow."""


def whole_list(headers: Headers, name: str) -> str | None:
    """A header that is a list, in one line or in several; None where it is missing."""
    lines = headers.getlist(name)
    return ", ".join(lines) if lines else None


def weighted(text: str) -> list[tuple[str, float]]:
    """The names of a list, in lower case and without parameters, each with its weight.

    A weight that is none counts as 0: what is not understood is not wanted.
    """
    found: list[tuple[str, float]] = []
    for entry in text.lower().split(","):
        name, *parameters = (part.strip() for part in entry.split(";"))
        if name:
            weights = [each[2:].strip() for each in parameters if each.startswith("q=")]
            found.append((name, _weight(weights[0]) if weights else 1.0))
    return found


def _weight(text: str) -> float:
    return min(1.0, float(text)) if WEIGHT.fullmatch(text) else 0.0
