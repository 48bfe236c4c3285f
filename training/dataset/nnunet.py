"""Folders in nnU-Net raw format.

Format: nnU-Net's documentation/dataset_format.md; version 1 names (``modality``, labels by value)
are read as well.
"""

import json
from pathlib import Path
from typing import Any, cast

from seg.errors import DatasetError
from seg.images import ClassInfo
from seg.model_package import Channel
from training.dataset.cases import Case, Dataset, Split, dims_of, with_held_out
from training.dataset.classes import make_classes
from training.dataset.files import channels_of, files_in, pair

CARD = "dataset.json"

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
    classes, values = _classes(raw)
    return Dataset(
        name=str(raw.get("name", folder.name)),
        folder=folder,
        dims=dims_of(cases[0].mask),
        classes=classes,
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


def _classes(raw: _Raw) -> tuple[tuple[ClassInfo, ...], dict[int, int]]:
    labels = raw.get("labels")
    if not isinstance(labels, dict) or not labels:
        raise DatasetError(f'{CARD} needs labels such as {{"background": 0, "lesion": 1}}')
    by_value = dict(sorted(_value_and_name(key, entry) for key, entry in labels.items()))
    if len(by_value) != len(labels) or min(by_value) != 0:
        raise DatasetError(
            f"labels in {CARD} need one value each and 0 for background, got {labels}"
        )
    classes = make_classes(list(by_value.values()), raw.get("colors", {}))
    return classes, {value: index for index, value in enumerate(by_value)}


def _value_and_name(key: str, entry: object) -> tuple[int, str]:
    if isinstance(entry, list):
        raise DatasetError(
            f"label {key!r} is a region of several values; regions that overlap cannot be trained "
            "yet, give every class one value"
        )
    by_value = key.isdigit() and isinstance(entry, str)
    name, value = (str(entry), key) if by_value else (key, entry)
    if name == "ignore":
        raise DatasetError("an ignore label cannot be trained around yet; make it background")
    try:
        return int(cast(str, value)), name
    except (TypeError, ValueError) as error:
        raise DatasetError(
            f"label {key!r} in {CARD} needs a whole number, got {entry!r}"
        ) from error


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
