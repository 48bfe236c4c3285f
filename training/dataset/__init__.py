"""Dataset folders: from images and masks on disk to one list of cases.

Six layouts are read: nnU-Net raw format, the Medical Segmentation Decathlon's, a MONAI datalist,
plain folders ``images`` and ``masks``, a folder for each case, and images with the annotations of a
tool.
docs/datasets.md describes them.
"""

from pathlib import Path

from seg.errors import DatasetError, ImageError
from training.dataset.annotations.formats import read_annotations
from training.dataset.cases import Case, Dataset, Split
from training.dataset.dataset_yaml import read_card
from training.dataset.findings.finding import Finding, raise_errors, raise_with_errors
from training.dataset.findings.inspection import check_and_measure, check_dataset, inspect
from training.dataset.layouts import annotated, case_folders, nnunet, plain
from training.dataset.layouts import datalist as lists
from training.dataset.layouts.dataset_json import CARD, Raw, read_json
from training.dataset.layouts.found_classes import Given
from training.dataset.legend import IGNORE, Legend
from training.dataset.names import check_text, entry_called, folder_called
from training.dataset.survey import Survey

__all__ = [
    "IGNORE",
    "Case",
    "Dataset",
    "Finding",
    "Legend",
    "Split",
    "check_and_measure",
    "check_dataset",
    "inspect",
    "load_dataset",
    "look_into",
]


def load_dataset(path: Path | str, given: Given | None = None) -> Dataset:
    """The dataset in a folder, or in a file that lists it.

    Args:
        path: of the folder, or of a JSON or XML file.
        given: classes of a package that is scored on it: what masks that say nothing of
            themselves hold; then one case suffices.

    Raises:
        DatasetError: it is no dataset, or its files contradict each other.
    """
    dataset, findings = look_into(path, given)
    raise_errors(findings)
    return dataset


def look_into(path: Path | str, given: Given | None = None) -> tuple[Dataset, list[Finding]]:
    """The dataset as far as its files go together, and what does not.

    Raises:
        DatasetError: it is no dataset, or cannot be taken for one.
    """
    path = Path(path)
    check_text([path])
    survey = Survey()
    try:
        return _read(path, survey, given), survey.findings
    except DatasetError as error:
        raise_with_errors(error, survey.findings)


def _read(path: Path, survey: Survey, given: Given | None) -> Dataset:
    if path.is_file():
        return _of_file(path, survey, given)
    if not path.is_dir():
        raise DatasetError(f"no folder {path}; name the folder that holds the dataset")
    card = read_card(path)
    listing = entry_called(path, [CARD])
    if listing is not None and listing.is_file() and not _is_annotated(listing):
        raw = read_json(listing)
        if lists.is_list(raw) and not (_is_nnunet(path, raw) and "training" in raw):
            return lists.load_datalist(path, raw, card, survey, given)
        scored = given is not None
        return nnunet.load_nnunet(path, raw, card, survey, is_scored_only=scored)
    if plain.is_plain(path) and plain.has_mask_files(path):
        annotated.tell_passed_over(path, survey)
        return plain.load_plain(path, card, survey, given)
    datalists = [each for each in sorted(path.glob("*.json")) if _is_list(each)]
    if len(datalists) == 1:
        raw = read_json(datalists[0])
        return lists.load_datalist(datalists[0], raw, card, survey, given)
    drawn = None if datalists else annotated.find(path)
    if drawn is not None:
        return annotated.load_annotated(drawn, card, survey, given)
    in_folders = None if datalists else case_folders.listed(path, survey)
    if in_folders is not None:
        return lists.load_datalist(path, in_folders, card, survey, given)
    if plain.is_plain(path):
        return plain.load_plain(path, card, survey, given)
    raise DatasetError(_no_dataset(path, datalists))


def _of_file(path: Path, survey: Survey, given: Given | None) -> Dataset:
    card = read_card(path.parent)
    if _is_list(path):
        return lists.load_datalist(path, read_json(path), card, survey, given)
    drawn = annotated.find(path)
    if drawn is not None:
        return annotated.load_annotated(drawn, card, survey, given)
    if path.suffix.lower() == ".json":
        read_json(path)
    raise DatasetError(
        f"{path} has no list named training, and is no annotation that is read; name a folder, a "
        "datalist, or a file of annotations"
    )


def _is_nnunet(folder: Path, raw: Raw) -> bool:
    """Version 1 of nnU-Net's format lists its cases too, without the channel in their names.

    A case may be called as a channel is, ``amos_0000``: then the files are there as listed.
    """
    images = folder_called(folder, ["imagestr"])
    if images is None or not any(images.glob("*_0000.*")):
        return False
    listed = [each.get("image") for each in raw.get("training", ()) if isinstance(each, dict)]
    return not all(isinstance(each, str) and (folder / each).is_file() for each in listed)


def _is_annotated(path: Path) -> bool:
    try:
        return read_annotations(path) is not None
    except ImageError:
        return False


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
        "or Decathlon), a MONAI datalist, the folders images and masks, or a folder for each case "
        f"with its image and its mask{hint}"
    )
