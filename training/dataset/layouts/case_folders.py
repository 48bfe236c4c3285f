"""A folder for each case or for each subject, as scans are often kept, as a list of cases.

``p1/flair.nii.gz, p1/t1.nii.gz, p1/seg.nii.gz``: the file whose name says mask is the mask, the
others are channels. ``images/p1/a.png`` with ``masks/p1/a.png``: p1 is the subject. Folders called
train, val and test say what their cases are for.
"""

from collections.abc import Iterator
from pathlib import Path

from seg.errors import DatasetError
from training.dataset.layouts.dataset_json import Raw
from training.dataset.layouts.files import Stems, cases_of, files_in, pair
from training.dataset.names import (
    IMAGE_FOLDERS,
    MASK_FOLDERS,
    TEST_FOLDERS,
    TRAIN_FOLDERS,
    VALIDATION_FOLDERS,
    check_text,
    folder_called,
    folders_in,
    has_images_and_masks,
    says_mask,
)
from training.dataset.survey import Survey

FEWEST = 2
"""Folders; one alone is nothing of this kind."""


def listed(folder: Path, survey: Survey) -> Raw | None:
    """A datalist of what lies in folders within the folder; None where they hold no cases.

    Raises:
        DatasetError: folders hold other channels than the others.
    """
    images, masks = (folder_called(folder, names) for names in (IMAGE_FOLDERS, MASK_FOLDERS))
    if images is not None and masks is not None:
        _check_one_mask(images, masks)
        rows = list(_of_subjects(folder, images, masks, survey))
        return _split(rows, images, survey) if rows else None
    _check_no_mask_an_object(folder)
    return _of_cases(folder, survey)


def _split(rows: list[Raw], images: Path, survey: Survey) -> Raw:
    """Cases by the folder that they lie in, where all folders are called as what they are for."""
    purpose = {name: _purpose(name) for name in dict.fromkeys(row["subject"] for row in rows)}
    if not all(purpose.values()):
        return {"training": rows}
    held_out = "test" if "test" in purpose.values() else "val"
    if {"test", "val"} <= set(purpose.values()):
        names = ", ".join(name for name, what in purpose.items() if what == "val")
        survey.warning(
            str(images),
            f"test is held back, so {names} is trained on like the rest",
            f"remove {names}, or name the test cases in split of dataset.yaml",
        )
    parts: Raw = {"training": [], "testing": []}
    for row in rows:
        is_held_out = purpose[row.pop("subject")] == held_out
        parts["testing" if is_held_out else "training"].append(row)
    return {key: part for key, part in parts.items() if part}


def _purpose(folder: str) -> str:
    """What cases in a folder of that name are for, as in ``train2017``; else nothing."""
    plain = folder.lower().rstrip("0123456789_-")
    known = {"train": TRAIN_FOLDERS, "test": TEST_FOLDERS, "val": VALIDATION_FOLDERS}
    return next((what for what, names in known.items() if plain in names), "")


def _check_one_mask(images: Path, masks: Path) -> None:
    """Pass where masks do not lie in one folder a class.

    Raises:
        DatasetError: they do.
    """
    classes = [each.name for each in folders_in(masks)]
    if classes and files_in(images):
        raise DatasetError(
            f"{masks} holds folders ({', '.join(classes[:5])}) and no masks: where each is a "
            "class, merge the masks of an image into one, with one value a class (or a "
            "combination of them, where classes overlap)"
        )


def _check_no_mask_an_object(folder: Path) -> None:
    """Pass where cases are not folders with many masks each.

    Raises:
        DatasetError: they are.
    """
    for each in folders_in(folder):
        if has_images_and_masks(each):
            raise DatasetError(
                f"{each} is a dataset of its own, with images and masks; name it, or call it train "
                "or test. Where each folder is one image with a mask for each object, number the "
                "objects in one mask (masks: instances)"
            )


def _of_subjects(folder: Path, images: Path, masks: Path, survey: Survey) -> Iterator[Raw]:
    """Of two trees that are alike; what lies in one alone is a finding."""
    names = sorted({each.name for tree in (images, masks) for each in folders_in(tree)})
    check_text(images / name for name in names)
    for name in names:
        ours, theirs = (_files(tree / name) for tree in (images, masks))
        if not ours and not theirs:
            continue
        for case, (files, mask) in pair(
            cases_of(ours, theirs, survey), theirs, images / name, survey
        ).items():
            yield {
                "name": f"{name}_{case}",
                "subject": name,
                "image": [each.relative_to(folder).as_posix() for each in files],
                "label": mask.relative_to(folder).as_posix(),
            }


def _of_cases(folder: Path, survey: Survey) -> Raw | None:
    """Of folders in each of which one file is a mask by its name, the others its channels."""
    found = {each: _files(each) for each in folders_in(folder)}
    found = {each: stems for each, stems in found.items() if stems}
    masks = {each: [stem for stem in stems if says_mask(stem)] for each, stems in found.items()}
    if len(found) < FEWEST or not any(masks.values()):
        return None
    check_text(found)
    rows, kinds = [], {}
    for each, stems in found.items():
        channels = {_kind(stem, each.name): stem for stem in stems if stem not in masks[each]}
        if len(masks[each]) != 1 or not channels:
            lacking = "no image" if not channels else f"{len(masks[each])} files called as masks"
            survey.error(
                str(each),
                f"the folder of a case holds {lacking}",
                "one mask and its image are needed",
            )
            continue
        kinds[each] = tuple(sorted(channels))
        files = [stems[channels[kind]] for kind in kinds[each]]
        rows.append(
            {
                "name": each.name,
                "image": [file.relative_to(folder).as_posix() for file in files],
                "label": stems[masks[each][0]].relative_to(folder).as_posix(),
            }
        )
    _check_alike(kinds)
    if not rows:
        return None
    first = next(iter(kinds.values()))
    if len(first) == 1:
        return {"training": rows}
    names = {str(index): kind for index, kind in enumerate(first)}
    return {"training": rows, "channel_names": names}


def _check_alike(kinds: dict[Path, tuple[str, ...]]) -> None:
    """Pass where all cases have the same channels, or one each, whatever it is called.

    Raises:
        DatasetError: they have not.
    """
    if len(set(kinds.values())) < 2 or all(len(kind) == 1 for kind in kinds.values()):
        return
    first, *others = kinds
    other = next(each for each in others if kinds[each] != kinds[first])
    raise DatasetError(
        f"{first} holds the images {', '.join(kinds[first])}, {other} holds "
        f"{', '.join(kinds[other])}; each case needs the same channels under the same names"
    )


def _files(folder: Path) -> Stems:
    return files_in(folder) if folder.is_dir() else {}


def _kind(stem: str, case: str) -> str:
    """What a file is called but for the name of its case."""
    return stem.removeprefix(case).strip(" _-.") or stem
