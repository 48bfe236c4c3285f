"""Codes of classes, as files for clinics name anatomy, and texts as DICOM holds them."""

import re
from hashlib import sha256
from unicodedata import normalize

from seg.images.grid.classes import ClassInfo, Code

PRIVATE_CODES = "99SEG"
"""Coding scheme of classes that nobody has given a code of SNOMED CT."""

ANATOMY = Code(value="123037004", meaning="Anatomical Structure")
"""Category of a class that says none."""

LONG_STRING = 64
"""Characters of the value representation LO at most."""

BACKSLASH = "\N{FULLWIDTH REVERSE SOLIDUS}"
"""What stands for a backslash, which separates values in DICOM."""

CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
"""Letters that are no text."""


def category_of(entry: ClassInfo) -> Code:
    """The category of a class's code."""
    return entry.category or ANATOMY


def type_of(entry: ClassInfo) -> Code:
    """The code of a class: its own, or a private one that its name alone decides.

    So one code never stands for two anatomies, whichever models name them.
    """
    if entry.type is not None:
        return entry.type
    name = plain(normalize("NFC", entry.name))
    value = sha256(name.casefold().encode()).hexdigest()[:16].upper()
    return Code(value=value, meaning=long_string(name) or value, scheme=PRIVATE_CODES)


def plain(text: str) -> str:
    """One line without what DICOM takes for the end of a value."""
    return CONTROL.sub(" ", text).replace("\\", BACKSLASH).strip()


def long_string(text: str) -> str:
    """A text of the value representation LO, cut where it is too long."""
    text = plain(text)
    return text if len(text) <= LONG_STRING else text[: LONG_STRING - 1] + "\N{HORIZONTAL ELLIPSIS}"
