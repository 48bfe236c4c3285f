"""What DICOM objects of ours say of themselves: who made them, when, and what the classes are."""

from collections.abc import Collection
from hashlib import sha256
from uuid import NAMESPACE_OID, uuid5

from seg.images.dicom.file import Dataset
from seg.images.dicom.source import MANUFACTURER, item
from seg.images.grid.classes import ClassInfo, Code
from seg.images.grid.codes import long_string, plain
from seg.images.grid.made_by import MadeBy
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
                *([f"precision {made_by.precision}"] if made_by.precision else []),
                *([] if made_by.overlap is None else [f"overlap of windows {made_by.overlap:g}"]),
            ]
        )
    return found


def series_description(made_by: MadeBy) -> str:
    """What a list of series shows."""
    return long_string(f"Segmentation by {made_by}")


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
