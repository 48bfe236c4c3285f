"""Names by which an OME-Zarr is known."""

from pathlib import Path

ZARR_FILES = ("zarr.json", ".zattrs", ".zgroup", ".zarray")


def is_zarr(folder: Path) -> bool:
    """The folder is a Zarr group or array."""
    return any((folder / name).is_file() for name in ZARR_FILES)
