"""Plain folders: ``images/`` and ``masks/`` with the same file names, and ``dataset.yaml`` if any.

::

    classes:                      # optional: without it the values in the masks are the classes
      - {name: background, value: 0}
      - {name: lesion, value: 255, color: [230, 159, 0]}
    channels: [red, green, blue]  # optional; {name: CT, modality: CT} says more
    split: {test: [case7, case9]} # optional, as is a folder test/ with images/ and masks/
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from seg.errors import DatasetError, ImageError
from seg.images import ClassInfo, read_channels, read_mask
from seg.model_package import Channel
from training.dataset.cases import Case, Dataset, Split, dims_of, with_held_out
from training.dataset.classes import make_classes
from training.dataset.files import cases_of, files_in, pair
from training.dataset.legend import Legend

CARD = "dataset.yaml"
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".nii", ".nii.gz")

MOST_FOUND_CLASSES = 32
"""More values than this in undeclared masks are no classes: JPEG noise or object numbers."""


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Class(_Data):
    name: str
    value: Annotated[int, Field(ge=0)] | None = None
    color: tuple[int, int, int] | None = None


class _Test(_Data):
    test: Annotated[tuple[str, ...], Field(min_length=1)]


class _Card(_Data):
    name: str | None = None
    licence: str = "not stated"
    classes: tuple[_Class, ...] = ()
    channels: tuple[str | Channel, ...] = ()
    split: _Test | None = None


def load(folder: Path) -> Dataset:
    """The dataset in ``images/`` and ``masks/``.

    Test cases are those in ``test/`` or those that ``dataset.yaml`` names; otherwise a fifth is
    held out by a hash of the names.

    Raises:
        DatasetError: an image or a mask is missing, or ``dataset.yaml`` does not fit.
    """
    card = _read_card(folder / CARD)
    cases = _split(folder, card, _cases(folder, "train"))
    dims = dims_of(cases[0].mask)
    classes, values = _classes(card, cases, dims)
    return Dataset(
        name=card.name or folder.resolve().name,
        folder=folder,
        dims=dims,
        legend=Legend(classes),
        channels=_channels(card, cases[0], dims),
        cases=cases,
        label_values=values,
        licence=card.licence,
    )


def _read_card(path: Path) -> _Card:
    if not path.is_file():
        return _Card()
    try:
        return _Card.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "its top"
        raise DatasetError(f"{path} is not valid at {where}: {first['msg']}") from error


def _cases(folder: Path, split: Split) -> tuple[Case, ...]:
    for name in ("images", "masks"):
        if not (folder / name).is_dir():
            raise DatasetError(f"{folder} needs the folders images and masks, it has no {name}")
    stems = files_in(folder / "images", SUFFIXES)
    masks = files_in(folder / "masks", SUFFIXES)
    images = cases_of(stems, masks)
    pair(images, masks, folder)
    return tuple(
        Case(name=name, images=images[name], mask=masks[name], split=split)
        for name in sorted(images)
    )


def _split(folder: Path, card: _Card, cases: tuple[Case, ...]) -> tuple[Case, ...]:
    if (folder / "test").is_dir():
        if card.split:
            raise DatasetError(f"{folder} has a folder test and a split in {CARD}; keep one")
        test = _cases(folder / "test", "test")
        shared = {case.name for case in cases} & {case.name for case in test}
        if shared:
            raise DatasetError(f"case {min(shared)} is a training case and a test case")
        return cases + test
    if card.split is None:
        return with_held_out(cases)
    names = set(card.split.test)
    unknown = names - {case.name for case in cases}
    if unknown or len(names) == len(cases):
        raise DatasetError(
            f"split in {CARD} names {min(unknown)}, which is no case"
            if unknown
            else f"split in {CARD} leaves no case to train on"
        )
    return tuple(replace(c, split="test" if c.name in names else "train") for c in cases)


def _classes(
    card: _Card, cases: Sequence[Case], dims: int
) -> tuple[tuple[ClassInfo, ...], dict[int, int]]:
    if card.classes:
        values = [i if each.value is None else each.value for i, each in enumerate(card.classes)]
        names = [each.name for each in card.classes]
        colors = {each.name: each.color for each in card.classes if each.color}
        if len(set(values)) != len(values):
            raise DatasetError(f"two classes in {CARD} have the same value: {values}")
    else:
        values = _values_in(cases, dims)
        names = ["background", *(f"class_{index}" for index in range(1, len(values)))]
        colors = {}
    return make_classes(names, colors), {value: index for index, value in enumerate(values)}


def _values_in(cases: Sequence[Case], dims: int) -> list[int]:
    found = {0}
    for case in cases:
        try:
            found.update(np.unique(read_mask(case.mask, dims=dims).array).tolist())
        except ImageError as error:
            raise DatasetError(f"case {case.name}: {error}") from error
        if len(found) > MOST_FOUND_CLASSES:
            raise DatasetError(
                f"the masks hold more than {MOST_FOUND_CLASSES} different values; masks need one "
                f"value a class, saved without loss (PNG or TIFF); list the classes in {CARD} if "
                "there are that many"
            )
    if len(found) == 1 or min(found) < 0:
        raise DatasetError(
            f"masks need values above 0 for what is not background, got {min(found)}..{max(found)}"
        )
    return sorted(found)


def _channels(card: _Card, case: Case, dims: int) -> tuple[Channel, ...]:
    if card.channels:
        return tuple(Channel(name=c) if isinstance(c, str) else c for c in card.channels)
    try:
        count = read_channels(case.images, dims=dims).channels
    except ImageError as error:
        raise DatasetError(f"case {case.name}: {error}") from error
    photo = ("red", "green", "blue") if count == 3 and len(case.images) == 1 else None
    return tuple(
        Channel(name=photo[index], modality="photo") if photo else Channel(name=f"channel_{index}")
        for index in range(count)
    )
