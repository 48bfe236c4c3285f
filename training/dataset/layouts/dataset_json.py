"""``dataset.json``: channels and labels as nnU-Net and the Decathlon write them.

Formats: nnU-Net's documentation/dataset_format.md, whose version 1 is the Decathlon's.
"""

from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from seg.errors import DatasetError
from seg.model_package import Channel
from seg.names import MOST_CLASSES
from training.dataset.classes import make_classes
from training.dataset.legend import IGNORE, Legend
from training.dataset.masks import MaskFiles
from training.dataset.text_files import json_of, said_of

CARD = "dataset.json"
IGNORE_NAME = "ignore"
"""Label of voxels that nobody annotated."""

Raw = dict[str, Any]


class _Known(BaseModel):
    """The types of what is read; other keys may hold anything."""

    name: str = ""
    channel_names: dict[str, str] = {}
    modality: dict[str, str] = {}
    modalities: list[str] = []
    labels: dict[str, int | str | list[int]] = {}
    regions_class_order: list[int] = []
    colors: dict[str, Any] = {}
    file_ending: str = ""
    numTraining: int = 0  # noqa: N815
    licence: str = ""
    license: str = ""
    training: list[Any] = []
    validation: list[Any] = []
    testing: list[Any] = []
    test: list[Any] = []
    dataset: Any = None


def read_json(path: Path) -> Raw:
    """The one object in a file.

    Raises:
        DatasetError: it cannot be read, is no object, or a known key holds what it cannot.
    """
    try:
        raw = json_of(path)
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: {said_of(error)}") from error
    if not isinstance(raw, dict):
        raise DatasetError(f"{path} must hold one JSON object")
    raw = {key: value for key, value in raw.items() if value is not None}
    try:
        _Known.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DatasetError(f"{path} is not valid at {where}: {first['msg']}") from error
    return raw


def channels_of(raw: Raw) -> tuple[Channel, ...]:
    """The channels by ``channel_names``, or ``modality`` as it was called before.

    Raises:
        DatasetError: they are missing or not numbered from 0.
    """
    names = raw.get("channel_names", raw.get("modality"))
    if not isinstance(names, dict) or sorted(names) != sorted(map(str, range(len(names)))):
        raise DatasetError(
            f'{CARD} needs channel_names such as {{"0": "CT", "1": "PET"}}, got {names!r}'
        )
    modalities = raw.get("modalities", [])
    return tuple(
        Channel(
            name=str(names[str(index)]), modality=_modality(names[str(index)], modalities, index)
        )
        for index in range(len(names))
    )


def _modality(name: object, modalities: list[str], index: int) -> str:
    if index < len(modalities):
        return modalities[index]
    return "CT" if str(name).upper() == "CT" else "unknown"


def legend_of(raw: Raw) -> tuple[Legend, MaskFiles]:
    """What the values in mask files mean.

    Raises:
        DatasetError: labels are missing or contradict each other.
    """
    entries = raw.get("labels")
    if not isinstance(entries, dict) or not entries:
        raise DatasetError(f'{CARD} needs labels such as {{"background": 0, "lesion": 1}}')
    values = dict(_name_and_values(key, entry) for key, entry in entries.items())
    ignored: tuple[int, ...] = ()
    for name in [each for each in values if each.strip().lower() == IGNORE_NAME]:
        ignored += values.pop(name)
    has_regions = any(len(each) > 1 for each in values.values())
    # regions keep the order in which they are painted, behind the background
    values = dict(sorted(values.items(), key=lambda e: e[1] != (0,) if has_regions else e[1]))
    if len(values) + bool(ignored) != len(entries) or next(iter(values.values()), ()) != (0,):
        raise DatasetError(
            f"labels in {CARD} need one value each and 0 for background, got {entries}"
        )
    labels = {value: label for label, value in enumerate(sorted(set().union(*values.values())))}
    if len(labels) > MOST_CLASSES or any(len(each) > 1 and 0 in each for each in values.values()):
        raise DatasetError(
            f"regions in {CARD} are of at most {MOST_CLASSES} values, and 0 is background's alone"
        )
    if len(ignored) > 1 or labels.keys() & set(ignored):
        raise DatasetError(f"the label ignore in {CARD} needs a value of its own, got {entries}")
    if not has_regions and len(labels) != len(values):
        raise DatasetError(f"two labels in {CARD} have the same value: {entries}")
    foreground = list(values.values())[1:]
    legend = Legend(
        make_classes(list(values), raw.get("colors", {}), values),
        regions=_regions(raw, foreground, labels) if has_regions else (),
        ignores=bool(ignored),
    )
    return legend, MaskFiles(label_of=labels | dict.fromkeys(ignored, IGNORE))


def _regions(
    raw: Raw, foreground: list[tuple[int, ...]], labels: dict[int, int]
) -> tuple[tuple[int, ...], ...]:
    order = raw.get("regions_class_order")
    if not isinstance(order, list) or len(order) != len(foreground):
        raise DatasetError(
            f"labels in {CARD} have regions, so it needs regions_class_order with one value for "
            f"each of the {len(foreground)} labels above background, got {order!r}"
        )
    return tuple(tuple(labels[value] for value in region) for region in foreground)


def _name_and_values(key: str, entry: object) -> tuple[str, tuple[int, ...]]:
    by_value = key.isdigit() and isinstance(entry, str)
    name, value = (str(entry), key) if by_value else (key, entry)
    numbers = value if isinstance(value, list) else [value]
    try:
        found = tuple(int(cast(str, number)) for number in numbers)
    except (TypeError, ValueError) as error:
        raise DatasetError(
            f"label {key!r} in {CARD} needs a whole number, got {entry!r}"
        ) from error
    if not found or min(found) < 0:
        raise DatasetError(f"label {key!r} in {CARD} needs numbers from 0 up, got {entry!r}")
    return name, found


def licence_of(raw: Raw) -> str:
    """What the file says about it."""
    return str(raw.get("licence", raw.get("license", "not stated")))
