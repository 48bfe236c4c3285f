"""Which class and channel of a dataset is which of a package: by name, or by value in the masks.

Names that somebody gave decide. Where one side has none but ``class_1``, ``class_2``, ..., which
only count, the values in the masks do. Channels without names are those of their place.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from seg.errors import DatasetError
from seg.images import ClassInfo
from seg.images.outlines.drawing import OBJECT
from seg.model_package import Channel, Task
from training.dataset.cases import Dataset

_Key = TypeVar("_Key")
_COUNTED = re.compile(rf"class_\d+|{OBJECT}")
"""Names that nobody gave."""
_COUNTED_CHANNEL = re.compile(r"channel \d+")


def is_same(one: ClassInfo, other: ClassInfo) -> bool:
    """Both are one class, background or not."""
    if one.index == 0 or other.index == 0:
        return one.index == other.index
    if _is_named(one) and _is_named(other):
        return _plain(one.name) == _plain(other.name)
    if one.values and other.values:
        return set(one.values) == set(other.values)
    return one.name == other.name  # of a package older than the values in it, or of colours


def matched(classes: Sequence[ClassInfo], others: Sequence[ClassInfo]) -> list[int | None]:
    """For each class the place of the other one that is the same; None where there is none."""
    return [
        next((at for at, other in enumerate(others) if is_same(each, other)), None)
        for each in classes
    ]


def on_classes(dataset: Dataset, classes: Sequence[ClassInfo], task: Task) -> Dataset:
    """The dataset with its labels in the order of a package's classes, and called as they are.

    Raises:
        DatasetError: one side has a class that the other has not, or their classes differ in kind.
    """
    theirs = dataset.legend
    if theirs.task != task:
        kinds = {"exclusive": "exclude each other", "regions": "overlap"}
        raise DatasetError(
            f"the package's classes {kinds[task]}, those of the dataset {kinds[theirs.task]}; "
            "evaluate on a dataset of the same kind"
        )
    places = matched(classes, theirs.classes)
    matches = [place for place in places if place is not None]
    if len(matches) < len(classes) or len(set(matches)) < len(theirs.classes):
        raise DatasetError(
            f"the package knows the classes {_listed(classes)}, the dataset has "
            f"{_listed(theirs.classes)}; evaluate on a dataset with the same classes, or say in "
            "dataset.yaml which value is which: classes: [background, {name: ..., value: ...}]"
        )
    if matches == list(range(len(classes))):
        return replace(dataset, legend=replace(theirs, classes=tuple(classes)))
    if theirs.regions:
        regions = tuple(theirs.regions[place - 1] for place in matches[1:])
        return replace(dataset, legend=replace(theirs, classes=tuple(classes), regions=regions))
    label_of = {place: index for index, place in enumerate(matches)}
    files = dataset.masks
    values = files.label_of
    if not values and files.kind != "instances":  # whose values are numbers, not labels
        values = {label: label for label in range(theirs.num_labels)}
    of_objects = files.classes_of_objects
    masks = replace(
        files,
        label_of=_renamed(values, label_of),
        label_of_name=_renamed(files.label_of_name, label_of),
        classes_of_objects=of_objects
        and {case: _renamed(numbers, label_of) for case, numbers in of_objects.items()},
    )
    return replace(dataset, legend=replace(theirs, classes=tuple(classes)), masks=masks)


def _renamed(labels: Mapping[_Key, int], label_of: Mapping[int, int]) -> dict[_Key, int]:
    """With other labels; one that is not named, such as ``IGNORE``, stays."""
    return {key: label_of.get(label, label) for key, label in labels.items()}


def on_channels(dataset: Dataset, channels: Sequence[Channel]) -> Dataset:
    """The dataset with its channels in the order of a package's, where names tell which is which.

    Raises:
        DatasetError: they are named alike in part only, or lie in another order in one file.
    """
    theirs = [_plain(channel.name) for channel in dataset.channels]
    ours = [_plain(channel.name) for channel in channels]
    if theirs == ours or not set(ours) & set(theirs):
        return dataset
    named = (
        f"the package takes the channels {', '.join(each.name for each in channels)}, the dataset "
        f"has {', '.join(each.name for each in dataset.channels)}"
    )
    if sorted(theirs) != sorted(ours) or len(set(ours)) < len(ours):
        raise DatasetError(f"{named}; name in dataset.yaml those alike that show the same")
    order = [theirs.index(name) for name in ours]
    if any(len(case.images) != len(order) for case in dataset.cases):
        raise DatasetError(
            f"{named}, in one file; write them in the package's order, or one file each"
        )
    cases = tuple(
        replace(case, images=tuple(case.images[place] for place in order)) for case in dataset.cases
    )
    return replace(dataset, cases=cases, channels=tuple(dataset.channels[at] for at in order))


def taken_by_place(dataset: Dataset, channels: Sequence[Channel]) -> str:
    """That channels which people named otherwise are taken in their order; empty where none are."""
    ours, theirs = ([each.name for each in side] for side in (channels, dataset.channels))
    named = [{_plain(name) for name in side} for side in (ours, theirs)]
    are_told_apart = len(ours) == len(theirs) > 1 and not named[0] & named[1]
    if not are_told_apart or any(map(_COUNTED_CHANNEL.fullmatch, named[0] | named[1])):
        return ""
    return (
        f"warning: channels {', '.join(theirs)} are taken as {', '.join(ours)}, in this order: no "
        "name is on both sides; name in dataset.yaml those alike that show the same"
    )


def _is_named(info: ClassInfo) -> bool:
    return not _COUNTED.fullmatch(info.name)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", " ", name).strip().casefold()


def _listed(classes: Sequence[ClassInfo]) -> str:
    return ", ".join(
        f"{each.name} ({'+'.join(map(str, each.values))})" if each.values else each.name
        for each in classes[1:]
    )
