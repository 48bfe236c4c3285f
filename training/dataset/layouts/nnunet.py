"""Folders in nnU-Net raw format.

Format: nnU-Net's documentation/dataset_format.md; version 1 names (``modality``, labels by value)
are read as well.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from seg.errors import DatasetError
from seg.images import stem_of
from training.dataset.cases import Case, Dataset, Split
from training.dataset.dataset_yaml import DatasetYaml, refuse
from training.dataset.findings.finding import raise_errors
from training.dataset.layouts.dataset_json import CARD, Raw, legend_of, licence_of
from training.dataset.layouts.dataset_json import channels_of as named_channels
from training.dataset.layouts.files import Stems, channels_of, files_in, pair, with_second_files
from training.dataset.names import composed, folder_called
from training.dataset.splits import assign
from training.dataset.survey import Survey

INSTANCES = "instances"
"""``instancesTr`` and ``instancesTs`` beside the labels: numbers of objects; nnU-Net has none."""
SET_BY_JSON = ("classes", "masks", "ignore", "channels")
"""Fields of ``dataset.yaml`` that ``dataset.json`` settles."""
_CHANNEL_BEHIND = re.compile(r"_\d{4}$")


def load_nnunet(
    folder: Path,
    raw: Raw,
    card: DatasetYaml,
    survey: Survey,
    *,
    is_scored_only: bool = False,
) -> Dataset:
    """The dataset that ``dataset.json`` describes; what does not pair is a finding.

    Test cases are those of ``imagesTs`` when ``labelsTs`` is there.

    Raises:
        DatasetError: an entry or a folder is missing or they contradict each other.
    """
    refuse(card, SET_BY_JSON, CARD)
    channels = named_channels(raw)
    ending = str(raw.get("file_ending", ".nii.gz")).lower()
    label_of = _listed_labels(folder, raw)
    cases = (
        _listed_cases(folder, label_of, ending, survey)
        if label_of
        else _cases(folder, "Tr", "train", ending, survey)
    )
    expected = raw.get("numTraining", len(cases))
    if expected != len(cases) and not survey.findings:
        raise DatasetError(
            f"{folder / CARD} counts {expected} training cases, imagesTr holds {len(cases)}; "
            "complete the copy or correct numTraining"
        )
    if folder_called(folder, ["labelsts"]) and folder_called(folder, ["imagests"]):
        cases += _cases(folder, "Ts", "test", ending, survey)
    cases = [case for case in cases if _has_all(case, len(channels), survey)]
    if not cases:
        raise_errors(survey.findings)
    legend, masks = legend_of(raw)
    return Dataset(
        name=card.name or str(raw.get("name", folder.resolve().name)),
        folder=folder,
        dims=survey.dims_of(cases),
        legend=legend,
        channels=channels,
        cases=assign(folder, card, cases, is_scored_only=is_scored_only),
        masks=masks,
        licence=card.licence or licence_of(raw),
        left_right=card.left_right,
    )


def _files(folder: Path, part: str, ending: str) -> Stems:
    """Files of a part that end as ``dataset.json`` says.

    Raises:
        DatasetError: none does, and others are there.
    """
    found = files_in(_folder(folder, part), (ending,))
    others = () if found else tuple(files_in(_folder(folder, part)).values())
    if others:
        raise DatasetError(
            f"{CARD} says that files end in {ending}, {part} holds {others[0].name}; correct "
            "file_ending"
        )
    return found


def _cases(folder: Path, suffix: str, split: Split, ending: str, survey: Survey) -> list[Case]:
    images = channels_of(_files(folder, f"images{suffix}", ending), survey)
    masks = _files(folder, f"labels{suffix}", ending)
    paired = pair(images, masks, folder / f"images{suffix}", survey)
    numbered: Mapping[str, Path | None] = dict.fromkeys(paired)
    if (folder / f"{INSTANCES}{suffix}").is_dir():
        files = files_in(folder / f"{INSTANCES}{suffix}", (ending,))
        of_classes = {name: mask for name, (_, mask) in paired.items()}
        numbered = with_second_files(of_classes, files, f"{INSTANCES}{suffix}", survey)
    return [
        Case(name=name, images=paired[name][0], mask=paired[name][1], objects=file, split=split)
        for name, file in numbered.items()
    ]


def _listed_cases(
    folder: Path, label_of: dict[str, Path], ending: str, survey: Survey
) -> list[Case]:
    """The training cases that version 1 of the format lists, each with its label."""
    images = channels_of(_files(folder, "imagesTr", ending), survey)
    for name in sorted(images.keys() - label_of.keys()):
        where = str(images[name][0]) if images[name] else name
        problem = f"{CARD} lists its training cases, and not this one, which is left out"
        survey.warning(where, problem, "add it to the list, or remove it")
    masks = {}
    for name, label in label_of.items():
        if label.is_file():
            masks[name] = label
        else:
            problem = f"{CARD} lists it as the label of {name}, and it is not there"
            survey.error(str(label), problem, "correct the list")
    known = {name: files for name, files in images.items() if name in masks}
    paired = pair(known, masks, folder / "imagesTr", survey)
    return [Case(name=n, images=i, mask=m, split="train") for n, (i, m) in paired.items()]


def _listed_labels(folder: Path, raw: Raw) -> dict[str, Path]:
    """Case name to label, where ``dataset.json`` lists both."""
    entries = raw.get("training")
    label_of: dict[str, Path] = {}
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("label"), str):
            image = Path(str(entry.get("image", "")).replace("\\", "/"))
            name = _CHANNEL_BEHIND.sub("", composed(stem_of(image)))
            label_of[name] = folder / entry["label"].replace("\\", "/")
    return label_of


def _folder(folder: Path, name: str) -> Path:
    found = folder_called(folder, [name.lower()])
    if found is None:
        raise DatasetError(f"{folder} has {CARD} but no folder {name}")
    return found


def _has_all(case: Case, channels: int, survey: Survey) -> bool:
    # One file may hold all channels, as RGB images do; reading it counts them.
    if len(case.images) in (1, channels):
        return True
    survey.error(
        str(case.images[0]),
        f"a case needs {channels} channel files, this one has {len(case.images)}",
        f"complete the case or correct channel_names in {CARD}",
    )
    return False
