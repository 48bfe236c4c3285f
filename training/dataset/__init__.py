"""Dataset folders: from images and masks on disk to one list of cases.

Four layouts are read: nnU-Net raw format, the Medical Segmentation Decathlon's, a MONAI datalist,
and plain folders ``images`` and ``masks``. docs/datasets.md describes them.
"""

from pathlib import Path

from seg.errors import DatasetError
from training.dataset.cases import Case, Dataset, Split
from training.dataset.dataset_yaml import read_card
from training.dataset.findings import Finding, raise_errors
from training.dataset.inspection import check_dataset, inspect
from training.dataset.layouts import datalist as lists
from training.dataset.layouts import nnunet, plain
from training.dataset.layouts.dataset_json import CARD, read_json
from training.dataset.legend import IGNORE, Legend

__all__ = [
    "IGNORE",
    "Case",
    "Dataset",
    "Finding",
    "Legend",
    "Split",
    "check_dataset",
    "inspect",
    "load_dataset",
    "look_into",
]


def load_dataset(path: Path | str) -> Dataset:
    """The dataset in a folder, or in a JSON file that lists it.

    Raises:
        DatasetError: it is no dataset, or its files contradict each other.
    """
    dataset, findings = look_into(path)
    raise_errors(findings)
    return dataset


def look_into(path: Path | str) -> tuple[Dataset, list[Finding]]:
    """The dataset as far as its files go together, and what does not.

    Raises:
        DatasetError: it is no dataset, or cannot be taken for one.
    """
    path = Path(path)
    findings: list[Finding] = []
    if path.is_file():
        raw = read_json(path)
        if not lists.is_list(raw):
            raise DatasetError(f"{path} has no list named training; name a folder or a datalist")
        return lists.load_datalist(path, raw, read_card(path.parent), findings), findings
    if not path.is_dir():
        raise DatasetError(f"no folder {path}; name the folder that holds the dataset")
    card = read_card(path)
    if (path / CARD).is_file():
        raw = read_json(path / CARD)
        if lists.is_list(raw) and not _is_nnunet(path):
            return lists.load_datalist(path, raw, card, findings), findings
        return nnunet.load_nnunet(path, raw, card, findings), findings
    if plain.is_plain(path):
        return plain.load_plain(path, card, findings), findings
    found = [each for each in sorted(path.glob("*.json")) if _is_list(each)]
    if len(found) == 1:
        return lists.load_datalist(found[0], read_json(found[0]), card, findings), findings
    raise DatasetError(_no_dataset(path, found))


def _is_nnunet(folder: Path) -> bool:
    """Version 1 of nnU-Net's format lists its cases too, without the channel in their names."""
    return any((folder / "imagesTr").glob("*_0000.*"))


def _is_list(path: Path) -> bool:
    try:
        return lists.is_list(read_json(path))
    except DatasetError:
        return False


def _no_dataset(folder: Path, datalists: list[Path]) -> str:
    if datalists:
        names = ", ".join(each.name for each in datalists)
        return f"{folder} holds several lists of cases; name one of {names}"
    inside = [f for f in sorted(folder.iterdir()) if (f / CARD).is_file()]
    hint = f"; did you mean {inside[0]}?" if inside else ""
    return (
        f"{folder} is no dataset: it needs {CARD} with imagesTr and labelsTr (nnU-Net raw format "
        f"or Decathlon), a MONAI datalist, or the folders images and masks{hint}"
    )
