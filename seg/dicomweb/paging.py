"""Answers that come in pages, and archives that want to be asked later."""

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from seg.errors import ArchiveAwayError, ArchiveError

MOST_ENTRIES = 100_000
LONGEST_S = 3600.0
"""That an archive may put off who asks."""

Entry = dict[str, Any]


def all_pages(page: Callable[[int], list[Entry]], key: Callable[[Entry], object]) -> list[Entry]:
    """Entries of all pages of QIDO-RS, each once: an archive may end a list where it likes.

    One that knows no ``offset`` sends its first page again, or refuses; that page is all, then.

    Args:
        page: asks for entries from a number on.
        key: what tells entries apart.

    Raises:
        ArchiveError: the first page cannot be had.
        ArchiveAwayError: nor can another, now.

    Source: DICOM PS3.18, 8.3.4.4 (Result Paging).
    """
    found: dict[object, Entry] = {}
    while len(found) < MOST_ENTRIES:
        try:
            entries = page(len(found))
        except ArchiveAwayError:
            raise
        except ArchiveError:
            if not found:
                raise
            break
        by_key = {key(entry) or repr(entry): entry for entry in entries}
        new = {name: entry for name, entry in by_key.items() if name not in found}
        if not new:
            break
        found |= new
    return list(found.values())


def again_after(text: str | None) -> float | None:
    """Seconds of a ``Retry-After``, which is a number or a date; None where it says nothing."""
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
        except (TypeError, ValueError):
            return None
    return min(max(seconds, 0.0), LONGEST_S) if seconds == seconds else None
