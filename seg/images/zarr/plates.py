"""Plates of wells as OME-Zarr: which images they hold, and whose.

Source: ngff.openmicroscopy.org, version 0.5, "plate" and "well" metadata.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from seg.errors import ImageError
from seg.images.storage.zarr_library import zarr_library
from seg.images.zarr.names import is_zarr
from seg.images.zarr.ome_zarr import attributes_of, translated

DEFAULT_IMAGE = "0"


@dataclass(frozen=True, slots=True)
class Field:
    """An image of a well."""

    well: str
    """As people write it: B03."""
    name: str
    """Of the image within its well."""
    folder: Path
    """The image, an OME-Zarr of its own; it may be missing where the plate announces it."""


def fields_of_plate(folder: Path) -> list[Field] | None:
    """The images of all wells of a plate, in its order; None of a folder that is no plate.

    A well that is announced and not there is told as one image, which cannot be read then.

    Raises:
        ImageError: the plate is damaged.
    """
    if not folder.is_dir() or not is_zarr(folder):
        return None
    with translated():
        plate = _attributes(folder).get("plate")
        if plate is None:
            return None
        fields = []
        for entry in plate["wells"]:
            place = PurePosixPath(str(entry["path"]))
            if place.is_absolute() or ".." in place.parts or len(place.parts) != 2:
                raise ImageError("a well of the OME-Zarr plate lies outside of it; write it anew")
            for name in _images_of(folder / place):
                fields.append(Field(_name_of(*place.parts), name, folder / place / name))
        return fields


def _images_of(well: Path) -> list[str]:
    if not is_zarr(well):
        return [DEFAULT_IMAGE]
    images = _attributes(well).get("well", {}).get("images", ())
    names = [PurePosixPath(str(image["path"])) for image in images]
    return [path.name for path in names] or [DEFAULT_IMAGE]


def _attributes(folder: Path) -> Mapping[str, Any]:
    store = zarr_library().storage.LocalStore(folder, read_only=True)
    return attributes_of(zarr_library().open_group(store, mode="r"))


def _name_of(row: str, column: str) -> str:
    return f"{row}{int(column):02d}" if column.isdecimal() else f"{row}{column}"
