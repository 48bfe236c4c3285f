"""Plain folders: ``images/`` and ``masks/`` with the same names, and ``dataset.yaml`` if any.

``test/`` with folders of the same names holds the test cases, if it is there.
"""

from pathlib import Path

from seg.errors import DatasetError
from training.dataset.cases import Case, Dataset, Split, dims_of
from training.dataset.dataset_yaml import DatasetYaml
from training.dataset.findings import Finding, raise_errors
from training.dataset.layouts.files import cases_of, files_in, pair
from training.dataset.layouts.found_classes import channels_of_files, coded, legend_of
from training.dataset.splits import assign


def is_plain(folder: Path) -> bool:
    """The folder has this layout, or half of it."""
    return (folder / "images").is_dir() or (folder / "masks").is_dir()


def load_plain(folder: Path, card: DatasetYaml, findings: list[Finding]) -> Dataset:
    """The dataset in ``images/`` and ``masks/``; what does not pair goes to the findings.

    Raises:
        DatasetError: a folder is missing, or ``dataset.yaml`` does not fit.
    """
    cases = _cases(folder, "train", findings)
    if (folder / "test").is_dir():
        cases += _cases(folder / "test", "test", findings)
    if not cases:
        raise_errors(findings)
    dims = dims_of(cases, card.masks)
    legend, masks = legend_of(card, cases, dims)
    return Dataset(
        name=card.name or folder.resolve().name,
        folder=folder,
        dims=dims,
        legend=coded(legend, card),
        channels=channels_of_files(card, cases, dims),
        cases=assign(folder, card, cases),
        masks=masks,
        licence=card.licence or "not stated",
        left_right=card.left_right,
    )


def _cases(folder: Path, split: Split, findings: list[Finding]) -> list[Case]:
    for name in ("images", "masks"):
        if not (folder / name).is_dir():
            raise DatasetError(f"{folder} needs the folders images and masks, it has no {name}")
    stems = files_in(folder / "images")
    masks = files_in(folder / "masks")
    paired = pair(cases_of(stems, masks, findings), masks, folder, findings)
    return [Case(name=n, images=i, mask=m, split=split) for n, (i, m) in paired.items()]
