"""What on a disk is an image: the one list of endings, and folders that are images themselves."""

from pathlib import Path

from seg.errors import ImageError
from seg.images.dicom.file import is_dicom
from seg.images.zarr.names import is_zarr

IMAGE_ENDINGS = (
    ".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".dcm", ".dicom", ".ome.zarr.zip",
    ".zarr.zip", ".zip", ".ome.zarr", ".zarr", ".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp",
    ".webp",
)  # fmt: skip
"""Endings of what ``read_image`` takes, longer before shorter. Content decides what a file is; an
ending only says what to look at in a folder of many things."""


LOOKED_AT = 20
"""Files of a folder that are looked into before it is said to be no series."""


def stem_of(path: Path) -> str:
    """The name without its ending, also where that has two parts."""
    for ending in IMAGE_ENDINGS:
        if path.name.lower().endswith(ending):
            return path.name[: -len(ending)]
    # DICOM files are named by their UID, in whose dots no ending hides
    return path.name if path.is_dir() or path.suffix[1:].isdecimal() else path.stem


def images_at(path: Path, dims: int | None = None) -> list[Path]:
    """The images that a path stands for, sorted: itself, or those in the folder that it is.

    A folder is an image where it is an OME-Zarr, or where DICOM files lie in it and not 2D images
    are wanted (``dims``): then they are slices of one series. Other folders are looked into, but
    not into the folders within them, unless these are images.

    Raises:
        ImageError: the path does not exist.
    """
    if path.is_file() or is_image_folder(path, dims):
        return [path]
    if not path.is_dir():
        raise ImageError(f"{path} does not exist")
    return sorted(
        entry
        for entry in path.iterdir()
        if not entry.name.startswith(".")
        and (is_image_folder(entry, dims) if entry.is_dir() else _is_image_file(entry))
    )


def is_image_folder(path: Path, dims: int | None = None) -> bool:
    """The folder is one image: an OME-Zarr, or the slices of a DICOM series."""
    if not path.is_dir():
        return False
    if is_zarr(path):
        return True
    if dims == 2:
        return False
    files = [entry for entry in path.iterdir() if entry.is_file()][:LOOKED_AT]
    return any(is_dicom_file(entry) for entry in files)


def _is_image_file(path: Path) -> bool:
    return path.name.lower().endswith(IMAGE_ENDINGS) or is_dicom_file(path)


def is_dicom_file(path: Path) -> bool:
    """The file begins as DICOM does."""
    try:
        with path.open("rb") as file:
            return is_dicom(file.read(132))
    except OSError:
        return False
