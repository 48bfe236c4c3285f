"""Plain folders: ``images/`` and ``masks/`` with the same names, and ``dataset.yaml`` if any.

``labels/``, ``annotations/`` and their kin are masks too, and masks may lie beside their images as
``NAME_mask``. ``test/`` with such folders holds the test cases, if it is there, else ``val/``.
"""

from pathlib import Path

from seg.errors import DatasetError
from training.dataset.annotations.itk_snap import label_tables
from training.dataset.cases import Case, Dataset, Split
from training.dataset.dataset_yaml import CARD, DatasetYaml, cards_passed_over
from training.dataset.findings.finding import Finding, raise_errors
from training.dataset.layouts.files import (
    CLASSES,
    MOST_NAMED,
    Stems,
    cases_of,
    files_in,
    left_out_in,
    pair,
    with_masks,
    with_second_files,
)
from training.dataset.layouts.found_classes import Given, channels_of_files, coded, legend_of
from training.dataset.names import (
    IMAGE_FOLDERS,
    MASK_FOLDERS,
    TEST_FOLDERS,
    TRAIN_FOLDERS,
    VALIDATION_FOLDERS,
    bare,
    check_text,
    folder_called,
    folders_in,
    has_images_and_masks,
    says_mask,
)
from training.dataset.splits import assign
from training.dataset.survey import Survey


def is_plain(folder: Path) -> bool:
    """The folder has this layout, or half of it."""
    parts = (folder, folder_called(folder, TRAIN_FOLDERS))
    return any(part is not None and _has_images_or_masks(part) for part in parts)


def has_mask_files(folder: Path) -> bool:
    """Masks are images; else they may be annotations of a tool, or lacking."""
    parts = [folder_called(folder, names) for names in (TRAIN_FOLDERS, TEST_FOLDERS)]
    for part in [folder, *(part for part in parts if part)]:
        masks = folder_called(part, MASK_FOLDERS)
        if files_in(masks) if masks else _beside(part)[1]:
            return True
    return False


def load_plain(
    folder: Path, card: DatasetYaml, survey: Survey, given: Given | None = None
) -> Dataset:
    """The dataset in ``images/`` and ``masks/``; what does not pair is a finding.

    Raises:
        DatasetError: a folder is missing, or ``dataset.yaml`` does not fit.
    """
    tables = label_tables(folder)
    for other in cards_passed_over(folder):
        if other in tables:
            continue
        survey.warning(
            str(other),
            f"the file is not read: what a dataset is stands in {CARD}",
            f"write what it says of classes, channels and split into {CARD}, or take it away",
        )
    cases: list[Case] = []
    for part, split in _parts(folder, survey):
        cases += _cases(part, split, survey, card)
    if not cases:
        raise_errors(survey.findings)
    dims = survey.dims_of(cases, card.masks)
    legend, masks = legend_of(card, cases, dims, survey, given)
    return Dataset(
        name=card.name or folder.resolve().name,
        folder=folder,
        dims=dims,
        legend=coded(legend, card),
        channels=channels_of_files(card, survey, cases, dims),
        cases=assign(folder, card, cases, is_scored_only=given is not None),
        masks=masks,
        licence=card.licence or "not stated",
        left_right=card.left_right,
    )


def _parts(folder: Path, survey: Survey) -> list[tuple[Path, Split]]:
    """The folders that hold images and masks, and what their cases are for."""
    parts: list[tuple[Path, Split]] = []
    train, test, validation = (
        found if (found := folder_called(folder, names)) and _has_images_or_masks(found) else None
        for names in (TRAIN_FOLDERS, TEST_FOLDERS, VALIDATION_FOLDERS)
    )
    if _has_images_or_masks(folder):
        parts.append((folder, "train"))
    if train:
        parts.append((train, "train"))
    if validation and test:
        survey.warning(
            str(validation),
            f"{test.name} is held back, so {validation.name} is trained on like the rest",
            f"remove {validation.name}, or name the test cases in split of dataset.yaml",
        )
        parts.append((validation, "train"))
    if held_out := test or validation:
        parts.append((held_out, "test"))
    used = {part for part, _ in parts}
    survey.findings += [
        Finding(
            "warning",
            str(entry),
            "the folder holds images and masks and is passed over",
            "call it train, test or val, or train on it by itself",
        )
        for entry in folders_in(folder)
        if entry not in used and has_images_and_masks(entry)
    ]
    return parts


def _has_images_or_masks(folder: Path) -> bool:
    if any(folder_called(folder, names) for names in (IMAGE_FOLDERS, MASK_FOLDERS)):
        return True
    return bool(_beside(folder)[1])


def _beside(folder: Path) -> tuple[Stems, Stems]:
    """Images, and masks that lie beside them as ``NAME_mask``; no masks where that is not so."""
    try:
        stems = files_in(folder)
    except DatasetError:  # two files of one stem are nothing of this kind
        return {}, {}
    masks = {
        stem: path for stem, path in stems.items() if bare(stem) != stem and bare(stem) in stems
    }
    if not masks:  # a_img beside a_masks: both say what they are
        masks = {stem: path for stem, path in stems.items() if says_mask(stem)}
    images = {stem: path for stem, path in stems.items() if stem not in masks}
    belong = {bare(stem) for stem in images} == {bare(stem) for stem in masks}
    return (images, masks) if belong and len(masks) == len(images) else (stems, {})


def _cases(folder: Path, split: Split, survey: Survey, card: DatasetYaml) -> list[Case]:
    """Cases of a folder; where masks number objects, their classes may be masks of their own."""
    check_text([folder])
    images, masks = (folder_called(folder, names) for names in (IMAGE_FOLDERS, MASK_FOLDERS))
    if images is None and masks is None:
        stems, mask_stems = _beside(folder)
    elif images is None or masks is None:
        lacking = "images" if images is None else "masks"
        raise DatasetError(f"{folder} needs the folders images and masks, it has no {lacking}")
    else:
        stems, mask_stems = files_in(images), files_in(masks)
        if stems and not mask_stems:
            _check_others(masks)
        survey.findings += [*left_out_in(images), *left_out_in(masks)]
        survey.findings += [_passed_over(entry, masks) for entry in _other_masks(folder, masks)]
    files = cases_of(stems, mask_stems, survey)
    if card.unannotated == "left out":
        files = with_masks(files, mask_stems, folder, survey)
    paired = pair(files, mask_stems, folder, survey)
    if card.masks != "instances":
        return [Case(name=n, images=i, mask=m, split=split) for n, (i, m) in paired.items()]
    of_classes = {name: mask for name, (_, mask) in paired.items()}
    if (folder / CLASSES).is_dir():
        of_classes = with_second_files(of_classes, files_in(folder / CLASSES), CLASSES, survey)
    return [
        Case(name=name, images=paired[name][0], mask=mask, objects=paired[name][1], split=split)
        for name, mask in of_classes.items()
    ]


def _check_others(masks: Path) -> None:
    """Pass where a folder without masks has nothing else in it.

    Raises:
        DatasetError: it holds files that are not read.
    """
    others = [each.name for each in sorted(masks.iterdir()) if each.is_file()]
    named = [name for name in others if not name.startswith(".")][:MOST_NAMED]
    if named:
        raise DatasetError(
            f"{masks} holds no masks that are read, but {', '.join(named)}"
            f"{', ...' if len(others) > MOST_NAMED else ''}; save them as PNG, TIFF, NPY or NIfTI, "
            "one number a class"
        )


def _other_masks(folder: Path, masks: Path) -> list[Path]:
    return [
        entry
        for entry in sorted(folder.iterdir())
        if entry.is_dir() and says_mask(entry.name) and entry != masks and files_in(entry)
    ]


def _passed_over(entry: Path, masks: Path) -> Finding:
    return Finding(
        "warning",
        str(entry),
        f"the masks are read from {masks.name}, so this folder is passed over",
        f"remove it, or rename it and {masks.name} so that the right one is called masks",
    )
