"""What DICOM objects of ours say of themselves: who made them, when, and what the classes are."""

import logging
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from seg.errors import UnsupportedImageError
from seg.images.dicom.file import Dataset, pydicom
from seg.images.dicom.source import MANUFACTURER, item
from seg.images.dicom.text import CHARACTER_SET, date_of, offset_of, time_of
from seg.images.grid.classes import ClassInfo, Code
from seg.images.grid.codes import long_string, plain
from seg.images.grid.made_by import MadeBy
from seg.images.storage.files import PARSING_ERRORS
from seg.version import VERSION

SERIES_NUMBERS = range(10_000, 100_000)
"""Of what we write; scanners and archives count from 1."""

UNNAMED = MadeBy(model=MANUFACTURER, version=VERSION)
"""What made a mask of which nobody says more."""


def code_item(code: Code) -> Dataset:
    """An item of a code sequence."""
    return item(
        CodeValue=plain(code.value),
        CodingSchemeDesignator=plain(code.scheme),
        CodeMeaning=long_string(code.meaning),
    )


def algorithm_item(made_by: MadeBy) -> Dataset:
    """An item of an algorithm identification sequence."""
    found = item(
        AlgorithmFamilyCodeSequence=[
            code_item(Code(value="123109", meaning="Artificial Intelligence", scheme="DCM"))
        ],
        AlgorithmName=long_string(made_by.model),
        AlgorithmVersion=long_string(made_by.version or VERSION),
        AlgorithmSource=MANUFACTURER,
    )
    if made_by.sha256:
        found.AlgorithmParameters = "; ".join(
            [
                f"package sha256 {made_by.sha256}",
                *([f"variant {made_by.variant}"] if made_by.variant else []),
                *([f"precision {made_by.precision}"] if made_by.precision else []),
                *([] if made_by.overlap is None else [f"overlap of windows {made_by.overlap:g}"]),
            ]
        )
    return found


def series_description(made_by: MadeBy) -> str:
    """What a list of series shows."""
    return long_string(f"{draft(made_by)}Segmentation by {made_by}")


def draft(made_by: MadeBy) -> str:
    """What stands before the name of a series that nobody should read unasked."""
    return "DRAFT: " if made_by.is_draft else ""


def serial_number(made_by: MadeBy) -> str:
    """Of the device, which is the model."""
    return made_by.sha256[:16] or VERSION


def series_number(series_uid: str, taken: Collection[int]) -> int:
    """A number for a new series, unlike those of the images and, all but surely, of any other."""
    start = int(sha256(series_uid.encode()).hexdigest(), 16)
    for step in range(len(taken) + 1):
        number = SERIES_NUMBERS[(start + step) % len(SERIES_NUMBERS)]
        if number not in taken:
            return number
    raise AssertionError("one of the numbers is not taken")


def tracking_uid(entry: ClassInfo, made_by: MadeBy, source: Dataset) -> str:
    """The same for a class of one model in one series whenever it is segmented."""
    parts = (source.SeriesInstanceUID, str(made_by), made_by.sha256, str(entry.index), entry.name)
    return f"2.25.{uuid5(NAMESPACE_OID, str(parts)).int}"


def numbers_taken(headers: Collection[Dataset]) -> set[int]:
    """Series numbers of the images."""
    taken = set()
    for header in headers:
        text = str(header.get("SeriesNumber") or "").strip()
        if text.lstrip("-").isdecimal():
            taken.add(int(text))
    return taken


def run_uid(made_by: MadeBy, name: str) -> str:
    """A new UID; of a run that is named, the one that other objects of that run know it by."""
    if not made_by.run:
        return str(highdicom_library().UID())
    return f"2.25.{uuid5(NAMESPACE_OID, f'{made_by.run} {name}').int}"


def remarks(made_by: MadeBy, name: str) -> list[str]:
    """What is to be known of a class in a mask, for people: never a word of the images' own."""
    found = ["draft, below the lowest predicted Dice"] if made_by.is_draft else []
    found.append("research use only")
    if name in made_by.predicted_dice:
        error = made_by.expected_error.get(name)
        usual = "" if error is None else f" (usual error {error:.2f})"
        found.append(f"predicted Dice {made_by.predicted_dice[name]:.2f}{usual}")
    return [*found, *(f"warning: {sentence}" for sentence in made_by.warnings)]


@cache
def highdicom_library() -> Any:
    """The library, silenced: its remarks quote the patient's name."""
    pydicom()
    import highdicom

    logging.getLogger("highdicom").setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", module=r"highdicom(\.|$)")
    return highdicom


def concept(code: Code) -> Any:
    """A code as highdicom has them."""
    return highdicom_library().sr.CodedConcept.from_dataset(code_item(code))


def attribute_named(error: BaseException) -> str:
    """The attribute that an error of a library names, and nothing else of its message."""
    words = (word.strip("'\",.:;()") for word in str(error).split())
    known = [word for word in words if pydicom().datadict.tag_for_keyword(word) is not None]
    return known[0] if known else "unnamed"


@contextmanager
def referring(what: str, instead: str) -> Iterator[None]:
    """Errors of the library, in a sentence that says what cannot be written and what can.

    Raises:
        UnsupportedImageError: in place of them.
    """
    try:
        yield
    except PARSING_ERRORS as error:
        raise UnsupportedImageError(
            f"{what} these DICOM images, an attribute is missing or not as the standard has it "
            f"({type(error).__name__}: {attribute_named(error)}); take {instead}"
        ) from error


def tell_the_time(written: Any, now: Any) -> None:
    """When an object was made, and by which clock."""
    written.SpecificCharacterSet = CHARACTER_SET
    written.TimezoneOffsetFromUTC = offset_of(now)
    for kind in ("InstanceCreation", "Content", "Series"):
        setattr(written, f"{kind}Date", date_of(now))
        setattr(written, f"{kind}Time", time_of(now))
