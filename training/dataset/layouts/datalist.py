"""Datasets whose JSON file lists every image with its mask.

Medical Segmentation Decathlon: ``dataset.json`` with ``modality``, ``labels``, ``training`` and
``test``. MONAI datalist: any JSON file with lists ``training`` and ``validation`` or
``testing``, or with a ``fold`` in each entry; classes and channels may stand in ``dataset.yaml``
beside it.

Sources: Antonelli et al., The Medical Segmentation Decathlon, Nature Communications 13 (2022);
MONAI's documentation of ``load_decathlon_datalist`` and Auto3DSeg.
"""

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

from seg.errors import DatasetError
from seg.images import stem_of
from training.dataset.cases import Case, Dataset, Split
from training.dataset.dataset_yaml import DatasetYaml, refuse
from training.dataset.findings.finding import Finding, raise_errors
from training.dataset.layouts.dataset_json import Raw, channels_of, legend_of, licence_of
from training.dataset.layouts.found_classes import Given, channels_of_files, coded
from training.dataset.layouts.found_classes import legend_of as found_legend
from training.dataset.splits import assign
from training.dataset.survey import Survey

TEST_LISTS = ("testing", "test", "validation")
"""The first of them whose entries have masks is the test split; other cases are trained on."""


def is_list(raw: Raw) -> bool:
    """The JSON object lists its cases, or names them as nnU-Net's ``dataset`` does."""
    if isinstance(raw.get("dataset"), dict) and raw["dataset"]:
        return True
    entries = raw.get("training")
    return isinstance(entries, list) and bool(entries) and isinstance(entries[0], dict)


def load_datalist(
    path: Path, raw: Raw, card: DatasetYaml, survey: Survey, given: Given | None = None
) -> Dataset:
    """The dataset that a JSON file lists; what is not there is a finding.

    Args:
        path: of the file, or of its folder where it holds no other list.
        raw: its content.
        card: ``dataset.yaml`` beside it.
        survey: of its files.
        given: classes of a package that is scored, for masks that say nothing of themselves.

    Raises:
        DatasetError: an entry is not valid, or file and card contradict each other.
    """
    folder = path.parent if path.is_file() else path
    raw = _as_lists(raw)
    cases = _cases(folder, raw, survey)
    if not cases:
        raise_errors(survey.findings)
    for field in ("labels", "modality", "channel_names"):
        if field in raw:
            refuse(card, _SETTLED[field], str(path))
    dims = survey.dims_of(cases, card.masks)
    legend, masks = (
        legend_of(raw) if "labels" in raw else found_legend(card, cases, dims, survey, given)
    )
    legend = coded(legend, card)
    has_channels = "modality" in raw or "channel_names" in raw
    return Dataset(
        name=card.name or str(raw.get("name", folder.resolve().name)),
        folder=path,
        dims=dims,
        legend=legend,
        channels=channels_of(raw) if has_channels else channels_of_files(card, survey, cases, dims),
        cases=assign(folder, card, cases, is_scored_only=given is not None),
        masks=masks,
        licence=card.licence or licence_of(raw),
        left_right=card.left_right,
    )


_SETTLED = {
    "labels": ("classes", "masks", "ignore"),
    "modality": ("channels",),
    "channel_names": ("channels",),
}


def _cases(folder: Path, raw: Raw, survey: Survey) -> list[Case]:
    listed = {name: _entries(raw, name) for name in ("training", *TEST_LISTS)}
    with_masks = [n for n in TEST_LISTS if listed[n] and all("label" in e for e in listed[n])]
    test = with_masks[0] if with_masks else None
    folds = {fold for entry in listed["training"] if (fold := _fold(entry)) is not None}
    without = sum(_fold(entry) is None for entry in listed["training"])
    if folds and without and not test:
        survey.findings.append(
            Finding(
                "warning",
                f"{without} of {len(listed['training'])} entries",
                'they have no "fold" and the others do, so they are trained on in every fold',
                'give each entry a "fold", or none',
            )
        )
    held_fold = min(folds, default=-1)  # of folds that are counted from 0, or from 1
    rows: list[tuple[Split, Raw]] = []
    for name in ("training", *with_masks):
        for entry in listed[name]:
            held_out = name == test if test else _fold(entry) == held_fold
            rows.append(("test" if held_out else "train", entry))
    if all(split == "test" for split, _ in rows):  # one fold only, which says nothing
        rows = [("train", entry) for _, entry in rows]
    names = _names([_paths(entry, "image")[0] for _, entry in rows])
    names = [str(entry.get("name", name)) for name, (_, entry) in zip(names, rows, strict=True)]
    found = [
        Case(
            name=name,
            images=tuple(folder / each for each in _paths(entry, "image")),
            mask=folder / _mask(entry),
            split=split,
            subject=None if entry.get("subject") is None else str(entry["subject"]),
        )
        for name, (split, entry) in zip(names, rows, strict=True)
    ]
    return [case for case in found if _is_there(case, survey)]


def _as_lists(raw: Raw) -> Raw:
    """nnU-Net's ``{"dataset": {case: {"images": [...], "label": ...}}}`` as a list of entries."""
    named = raw.get("dataset")
    if not isinstance(named, dict) or not named:
        return raw
    rows = []
    for name, entry in named.items():
        if not isinstance(entry, dict):
            raise DatasetError(f"dataset needs images and a label for case {name}, got {entry!r}")
        rows.append({"name": name, "image": entry.get("images"), "label": entry.get("label")})
    return {**raw, "training": rows}


def _fold(entry: Raw) -> int | None:
    """The entry's fold; a number in quotes is one."""
    fold = entry.get("fold")
    try:
        if isinstance(fold, float) and not fold.is_integer():
            raise ValueError("a part of a fold")
        return None if fold is None else int(fold)
    except (TypeError, ValueError) as error:
        raise DatasetError(f'"fold" must be a whole number, got {fold!r}') from error


def _entries(raw: Raw, name: str) -> list[Raw]:
    """Entries with masks and, of lists for tests, plain names of images without."""
    entries = raw.get(name, [])
    if not isinstance(entries, list):
        raise DatasetError(f"{name} must be a list of entries, got {entries!r}")
    return [each if isinstance(each, dict) else {"image": each} for each in entries]


def _paths(entry: Raw, key: str) -> list[str]:
    value: Any = entry.get(key)
    paths = value if isinstance(value, list) else [value]
    # no name of a file holds a backslash but on Windows, where it parts folders
    paths = [each.replace("\\", "/") if isinstance(each, str) else each for each in paths]
    if not paths or not all(isinstance(each, str) and each for each in paths):
        raise DatasetError(
            f'an entry needs "{key}" with the name of a file, or a list of them, got {entry!r}'
        )
    return paths


def _mask(entry: Raw) -> str:
    paths = _paths(entry, "label")
    if len(paths) > 1:
        raise DatasetError(
            f"one mask an image is read, the entry lists {len(paths)}: {', '.join(paths)}; merge "
            "them into one file with one value a combination"
        )
    return paths[0]


def _names(images: list[str]) -> list[str]:
    """The files' stems where they differ, else with the folders above them."""
    stems = [stem_of(Path(each)) for each in images]
    if max(Counter(stems).values(), default=0) <= 1:
        return stems
    return [
        "_".join(
            [*(p for p in PurePosixPath(each).parent.parts if p not in (".", "..", "/")), stem]
        )
        for each, stem in zip(images, stems, strict=True)
    ]


def _is_there(case: Case, survey: Survey) -> bool:
    lost = [path for path in (*case.images, case.mask) if not path.exists()]
    survey.findings += [
        Finding(
            "error", str(path), "it is listed and not there", "add the file or take it off the list"
        )
        for path in lost
    ]
    return not lost
