"""``dataset.yaml`` of the folder in which people draw: its classes, and what its masks hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from seg.files import replace_file
from service.problems.response import Problem

CARD = "dataset.yaml"
IGNORE = "ignore"
"""What a client calls what nobody annotated."""
FRESH_IGNORE = {False: 255, True: 65_535}
"""Value of what nobody annotated, in masks of classes and in those of objects."""
TABLE = "objects.csv"
PARTLY = {"unannotated": "left out"}
"""Nobody has come to all images yet."""
HELD_BACK = "held-back.txt"
"""Names of the images that no training sees."""


@dataclass(frozen=True)
class DrawnClasses:
    """What the masks of a folder hold."""

    values: Mapping[str, int]
    """Of each class, background first; of objects their places in the list."""
    are_objects: bool = False
    """Every object has a number of its own."""
    ignore: int | None = None
    """Value of what nobody annotated."""
    table: str | None = None
    """File that says of each object its class."""
    colors: Mapping[str, Sequence[int]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """All classes, background first."""
        return tuple(self.values)


def read_classes(folder: Path) -> DrawnClasses | None:
    """What the folder's ``dataset.yaml`` says; None where there is none.

    Raises:
        Problem: 409, it cannot be read, or its masks are of a kind that nobody draws here.
    """
    card = folder / CARD
    if not card.is_file():
        return None
    raw = _raw(card)
    try:
        entries = [_entry(each, place) for place, each in enumerate(raw["classes"])]
        ignore = None if raw.get(IGNORE) is None else int(raw[IGNORE])
    except (KeyError, TypeError, ValueError):
        raise Problem(409, f"{CARD} there does not list classes with a value each") from None
    if any(isinstance(each, dict) and "values" in each for each in raw["classes"]):
        raise Problem(409, f"classes that overlap cannot be drawn here; {CARD} there lists values")
    kind = raw.get("masks", "values")
    if kind not in ("values", "instances"):
        raise Problem(409, f"masks of {kind} cannot be drawn here; {CARD} there says masks: {kind}")
    are_objects = kind == "instances"
    return DrawnClasses(
        {name: place if are_objects else value for place, (name, value, _) in enumerate(entries)},
        are_objects,
        ignore,
        raw.get("objects"),
        {name: color for name, _, color in entries if color},
    )


def write_classes(folder: Path, classes: Sequence[Mapping[str, Any]], *, are_objects: bool) -> None:
    """Write a ``dataset.yaml`` for a folder in which nothing is drawn yet.

    Args:
        folder: of the dataset.
        classes: ``name``, and ``color`` where it has one; without the background.
        are_objects: objects are told apart.
    """
    entries = [{"name": "background", "value": 0}]
    entries += [{**each, "value": value} for value, each in enumerate(classes, start=1)]
    raw: dict[str, Any] = {"classes": entries, IGNORE: FRESH_IGNORE[are_objects], **PARTLY}
    if are_objects:
        raw["masks"] = "instances"
        for entry in entries:
            del entry["value"]
        if len(classes) > 1:
            raw["objects"] = TABLE
            replace_file(folder / TABLE, b"case,label,class\n", mode=0o600)
    text = yaml.safe_dump(raw, allow_unicode=True, sort_keys=False, default_flow_style=None)
    replace_file(folder / CARD, text.encode(), mode=0o600)


def split_of(folder: Path) -> Any:
    """What ``dataset.yaml`` says of the split, or of subjects that a split follows."""
    raw = _raw(folder / CARD)
    return raw.get("split") or raw.get("subjects")


def write_split(folder: Path) -> None:
    """Let ``dataset.yaml`` name the file of held-back images."""
    _write_fields(folder, {"split": {"test": HELD_BACK}})


def allow_unannotated(folder: Path) -> None:
    """Let ``dataset.yaml`` say that not all images have masks yet, if it says nothing of it."""
    if "unannotated" not in _raw(folder / CARD):
        _write_fields(folder, PARTLY)


def _write_fields(folder: Path, fields: Mapping[str, Any]) -> None:
    """Set fields, all else as it was, comments too where they can stay."""
    card = folder / CARD
    text = card.read_text(encoding="utf-8").rstrip("\n")
    wanted = {**_raw(card), **fields}
    added = yaml.safe_dump(dict(fields), sort_keys=False, default_flow_style=None)
    longer = f"{text}\n{added}"
    try:
        is_same = yaml.safe_load(longer) == wanted
    except yaml.YAMLError:
        is_same = False
    if not is_same:
        longer = yaml.safe_dump(wanted, allow_unicode=True, sort_keys=False)
    replace_file(card, longer.encode(), mode=0o600)


def _raw(card: Path) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(card.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        raw = None
    if not isinstance(raw, dict):
        raise Problem(409, f"{CARD} there cannot be read")
    return raw


def _entry(entry: object, place: int) -> tuple[str, int, Sequence[int]]:
    if isinstance(entry, dict):
        return str(entry["name"]), int(entry.get("value", place)), entry.get("color", ())
    return str(entry), place, ()
