"""Folders in nnU-Net raw format.

Format: nnU-Net's documentation/dataset_format.md; version 1 names (``modality``, labels by value)
are read as well.
"""

import json
from pathlib import Path
from typing import Any, cast

from seg.errors import DatasetError
from seg.model_package import Channel
from training.dataset.cases import Case, Dataset, Split, dims_of, with_held_out
from training.dataset.classes import make_classes
from training.dataset.files import channels_of, files_in, pair
from training.dataset.legend import IGNORE, Legend

CARD = "dataset.json"
IGNORE_NAME = "ignore"
"""Label of voxels that nobody annotated."""

_Raw = dict[str, Any]


def load(folder: Path) -> Dataset:
    """The dataset that ``dataset.json`` describes.

    Test cases are those of ``imagesTs`` when ``labelsTs`` is there; otherwise a fifth of the
    training cases is held out by a hash of their names.

    Raises:
        DatasetError: a file or an entry is missing or they contradict each other.
    """
    raw = _read(folder / CARD)
    channels = _channels(raw)
    ending = str(raw.get("file_ending", ".nii.gz"))
    train = _cases(folder, "Tr", "train", ending, len(channels))
    expected = raw.get("numTraining", len(train))
    if expected != len(train):
        raise DatasetError(
            f"{folder / CARD} counts {expected} training cases, imagesTr holds {len(train)}; "
            "complete the copy or correct numTraining"
        )
    cases = _with_test_cases(folder, train, ending, len(channels))
    legend, values = _legend(raw)
    return Dataset(
        name=str(raw.get("name", folder.name)),
        folder=folder,
        dims=dims_of(cases[0].mask),
        legend=legend,
        channels=channels,
        cases=cases,
        label_values=values,
        licence=str(raw.get("licence", raw.get("license", "not stated"))),
    )


def _read(path: Path) -> _Raw:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
    if not isinstance(raw, dict):
        raise DatasetError(f"{path} must hold one JSON object")
    return raw


def _channels(raw: _Raw) -> tuple[Channel, ...]:
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


def _legend(raw: _Raw) -> tuple[Legend, dict[int, int]]:
    """The legend, and the label of each value in the mask files."""
    entries = raw.get("labels")
    if not isinstance(entries, dict) or not entries:
        raise DatasetError(f'{CARD} needs labels such as {{"background": 0, "lesion": 1}}')
    values = dict(_name_and_values(key, entry) for key, entry in entries.items())
    ignored = values.pop(IGNORE_NAME, ())
    has_regions = any(len(each) > 1 for each in values.values())
    # regions keep the order in which they are painted, behind the background
    values = dict(sorted(values.items(), key=lambda e: e[1] != (0,) if has_regions else e[1]))
    if len(values) + bool(ignored) != len(entries) or next(iter(values.values()), ()) != (0,):
        raise DatasetError(
            f"labels in {CARD} need one value each and 0 for background, got {entries}"
        )
    labels = {value: label for label, value in enumerate(sorted(set().union(*values.values())))}
    if len(ignored) > 1 or labels.keys() & set(ignored):
        raise DatasetError(f"the label ignore in {CARD} needs a value of its own, got {entries}")
    if not has_regions and len(labels) != len(values):
        raise DatasetError(f"two labels in {CARD} have the same value: {entries}")
    foreground = list(values.values())[1:]
    legend = Legend(
        make_classes(list(values), raw.get("colors", {})),
        regions=_regions(raw, foreground, labels) if has_regions else (),
        ignores=bool(ignored),
    )
    return legend, labels | dict.fromkeys(ignored, IGNORE)


def _regions(
    raw: _Raw, foreground: list[tuple[int, ...]], labels: dict[int, int]
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


def _with_test_cases(
    folder: Path, train: tuple[Case, ...], ending: str, channels: int
) -> tuple[Case, ...]:
    if (folder / "labelsTs").is_dir() and (folder / "imagesTs").is_dir():
        test = _cases(folder, "Ts", "test", ending, channels)
        shared = {case.name for case in train} & {case.name for case in test}
        if shared:
            raise DatasetError(f"case {min(shared)} is a training case and a test case")
        return train + test
    return with_held_out(train)


def _cases(folder: Path, suffix: str, split: Split, ending: str, channels: int) -> tuple[Case, ...]:
    for name in (f"images{suffix}", f"labels{suffix}"):
        if not (folder / name).is_dir():
            raise DatasetError(f"{folder} has {CARD} but no folder {name}")
    images = channels_of(files_in(folder / f"images{suffix}", (ending.lower(),)))
    masks = files_in(folder / f"labels{suffix}", (ending.lower(),))
    pair(images, masks, folder / f"images{suffix}")
    for case, files in images.items():
        # One file may hold all channels, as RGB images do; reading it counts them.
        if len(files) not in (1, channels):
            raise DatasetError(f"case {case} needs {channels} channel files, it has {len(files)}")
    return tuple(
        Case(name=name, images=images[name], mask=masks[name], split=split)
        for name in sorted(images)
    )
