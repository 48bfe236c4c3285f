"""Folders in nnU-Net raw format.

Format: nnU-Net's documentation/dataset_format.md; version 1 names (``modality``, labels by value)
are read as well.
"""

from pathlib import Path

from seg.errors import DatasetError
from training.dataset.cases import Case, Dataset, Split, dims_of
from training.dataset.dataset_yaml import DatasetYaml, refuse
from training.dataset.findings import Finding, raise_errors
from training.dataset.layouts.dataset_json import CARD, Raw, legend_of, licence_of
from training.dataset.layouts.dataset_json import channels_of as named_channels
from training.dataset.layouts.files import channels_of, files_in, pair
from training.dataset.splits import assign

SET_BY_JSON = ("classes", "masks", "ignore", "channels")
"""Fields of ``dataset.yaml`` that ``dataset.json`` settles."""


def load_nnunet(folder: Path, raw: Raw, card: DatasetYaml, findings: list[Finding]) -> Dataset:
    """The dataset that ``dataset.json`` describes; what does not pair goes to the findings.

    Test cases are those of ``imagesTs`` when ``labelsTs`` is there.

    Raises:
        DatasetError: an entry or a folder is missing or they contradict each other.
    """
    refuse(card, SET_BY_JSON, CARD)
    channels = named_channels(raw)
    ending = str(raw.get("file_ending", ".nii.gz")).lower()
    cases = _cases(folder, "Tr", "train", ending, findings)
    expected = raw.get("numTraining", len(cases))
    if expected != len(cases) and not findings:
        raise DatasetError(
            f"{folder / CARD} counts {expected} training cases, imagesTr holds {len(cases)}; "
            "complete the copy or correct numTraining"
        )
    if (folder / "labelsTs").is_dir() and (folder / "imagesTs").is_dir():
        cases += _cases(folder, "Ts", "test", ending, findings)
    cases = [case for case in cases if _has_all(case, len(channels), findings)]
    if not cases:
        raise_errors(findings)
    legend, masks = legend_of(raw)
    return Dataset(
        name=card.name or str(raw.get("name", folder.resolve().name)),
        folder=folder,
        dims=dims_of(cases),
        legend=legend,
        channels=channels,
        cases=assign(folder, card, cases),
        masks=masks,
        licence=card.licence or licence_of(raw),
        left_right=card.left_right,
    )


def _cases(
    folder: Path, suffix: str, split: Split, ending: str, findings: list[Finding]
) -> list[Case]:
    for name in (f"images{suffix}", f"labels{suffix}"):
        if not (folder / name).is_dir():
            raise DatasetError(f"{folder} has {CARD} but no folder {name}")
    images = channels_of(files_in(folder / f"images{suffix}", (ending,)), findings)
    masks = files_in(folder / f"labels{suffix}", (ending,))
    paired = pair(images, masks, folder / f"images{suffix}", findings)
    return [Case(name=n, images=i, mask=m, split=split) for n, (i, m) in paired.items()]


def _has_all(case: Case, channels: int, findings: list[Finding]) -> bool:
    # One file may hold all channels, as RGB images do; reading it counts them.
    if len(case.images) in (1, channels):
        return True
    findings.append(
        Finding(
            "error",
            str(case.images[0]),
            f"a case needs {channels} channel files, this one has {len(case.images)}",
            f"complete the case or correct channel_names in {CARD}",
        )
    )
    return False
