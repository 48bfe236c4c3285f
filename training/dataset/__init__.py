"""Dataset folders: from images and masks on disk to one list of cases.

Two layouts are read: nnU-Net raw format (``dataset.json``, ``imagesTr``, ``labelsTr``) and plain
folders (``images``, ``masks``). docs/datasets.md describes both.
"""

from pathlib import Path

from seg.errors import DatasetError
from training.dataset import nnunet, plain
from training.dataset.cases import Case, Dataset, Split
from training.dataset.inspection import check
from training.dataset.legend import IGNORE, Legend

__all__ = ["IGNORE", "Case", "Dataset", "Legend", "Split", "check", "load_dataset"]


def load_dataset(path: Path | str) -> Dataset:
    """The dataset in a folder, its layout told by what the folder holds.

    Raises:
        DatasetError: the folder is no dataset, or its files contradict each other.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise DatasetError(f"no folder {folder}; name the folder that holds the dataset")
    if (folder / nnunet.CARD).is_file():
        return nnunet.load(folder)
    if (folder / "images").is_dir() or (folder / "masks").is_dir():
        return plain.load(folder)
    raise DatasetError(
        f"{folder} is no dataset: it needs {nnunet.CARD} with imagesTr and labelsTr (nnU-Net raw "
        f"format) or the folders images and masks{_hint(folder)}"
    )


def _hint(folder: Path) -> str:
    inside = [f for f in sorted(folder.iterdir()) if (f / nnunet.CARD).is_file()]
    return f"; did you mean {inside[0]}?" if inside else ""
