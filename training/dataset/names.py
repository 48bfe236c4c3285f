"""Names of files and folders, also where they are nearly right."""

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from seg.errors import DatasetError

IMAGE_FOLDERS = ("images", "image", "imgs", "img")
MASK_FOLDERS = (
    *("masks", "mask", "labels", "label", "annotations", "annotation", "segmentations"),
    *("segmentation", "segs", "seg", "ground_truth", "groundtruth", "gt"),
)
TEST_FOLDERS = ("test", "tests", "testing")
VALIDATION_FOLDERS = ("val", "valid", "validation")
TRAIN_FOLDERS = ("train", "training")
OF_SYSTEMS = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information")
"""Folders that operating systems put beside those of people."""

_WORDS = (
    "masks?|labels?|labelled|seg|segs|segmentations?|annotations?|annot|gt|ground_?truth|manual"
    "|images?|imgs?|im|volumes?|raw|rois?|roi_?set|cp_masks?"
)
_WORD = re.compile(r"[^\W\d_]+")
_BEHIND = re.compile(rf"(?P<stem>.+?)[\s_.-]+(?:{_WORDS})", re.IGNORECASE)
_BEFORE = re.compile(rf"(?:{_WORDS})[\s_.-]+(?P<stem>.+)", re.IGNORECASE)


def entry_called(folder: Path, names: Sequence[str]) -> Path | None:
    """What lies in the folder under one of the names, whatever its capitals; the first of them.

    Raises:
        DatasetError: two names differ in nothing but their capitals.
    """
    if not folder.is_dir():
        return None
    entries: dict[str, list[Path]] = {}
    for entry in sorted(folder.iterdir()):
        entries.setdefault(entry.name.lower(), []).append(entry)
    for name in names:
        same = entries.get(name, [])
        if len(same) > 1:
            raise DatasetError(
                f"{folder} holds {' and '.join(each.name for each in same)}; keep one of them"
            )
        if same:
            return same[0]
    return None


def folder_called(folder: Path, names: Sequence[str]) -> Path | None:
    """As ``entry_called``, of folders."""
    found = entry_called(folder, names)
    return found if found and found.is_dir() else None


def has_images_and_masks(folder: Path) -> bool:
    """Whether folders of both lie in it."""
    return all(folder_called(folder, names) for names in (IMAGE_FOLDERS, MASK_FOLDERS))


def folders_in(folder: Path) -> list[Path]:
    """Folders of people within a folder, neither hidden ones nor those of operating systems."""
    return [
        entry
        for entry in sorted(folder.iterdir())
        if entry.is_dir() and not entry.name.startswith(".") and entry.name not in OF_SYSTEMS
    ]


def composed(name: str) -> str:
    """The name with letters and their marks in one (NFC); macOS writes them apart."""
    return unicodedata.normalize("NFC", name)


def bare(stem: str) -> str:
    """The stem without the words that say whether it is an image or a mask."""
    for pattern in (_BEHIND, _BEFORE):
        if match := pattern.fullmatch(stem):
            stem = match["stem"]
    return stem


def says_mask(stem: str) -> bool:
    """A word of the stem is one for masks."""
    return any(word.lower() in MASK_FOLDERS for word in _WORD.findall(stem))


def check_text(paths: Iterable[Path]) -> None:
    """Pass where all names are text.

    Raises:
        DatasetError: one is not UTF-8, as in archives of old systems.
    """
    for path in paths:
        try:
            os.fspath(path).encode()
        except UnicodeEncodeError:
            shown = os.fsencode(path).decode("utf-8", "backslashreplace")
            raise DatasetError(
                f"{shown}: the name is not UTF-8, so it can be told to nobody; rename it (convmv "
                "does so for whole folders)"
            ) from None
