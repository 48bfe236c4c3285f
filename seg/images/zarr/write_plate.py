"""Label images of the wells of a plate as one OME-Zarr plate, as napari and Fiji open it.

Source: ngff.openmicroscopy.org, version 0.4, "plate", "well" and "labels" metadata.
"""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seg.files import written_whole

VERSION = "0.4"
LABELS = "objects"
"""Name of the label image within an image of a well."""

Place = tuple[str, int]
"""Row and column of a well, as B and 3."""


def write_label_plate(
    target: Path, name: str, wells: Mapping[Place, Mapping[str, Path]], rows: list[str]
) -> None:
    """Write a folder, whole or not at all.

    What lies at the place of an image of a well is its label image, as an image and once more
    among its own labels, which have the colours; no pixel is stored twice.

    Args:
        target: the folder.
        name: of the plate.
        wells: by place the images, by name, each a ZIP file of ``write_label_zarr``.
        rows: names of all rows, in the order in which they stand.
    """
    columns = sorted({column for _, column in wells})
    plate = {
        "version": VERSION,
        "name": name,
        "rows": [{"name": row} for row in rows],
        "columns": [{"name": str(column)} for column in columns],
        "wells": [
            {
                "path": f"{row}/{column}",
                "rowIndex": rows.index(row),
                "columnIndex": columns.index(column),
            }
            for row, column in wells
        ],
        "field_count": max(map(len, wells.values()), default=0),
    }
    with written_whole(target) as folder:
        _group(folder, {"plate": plate})
        for (row, column), images in wells.items():
            _group(folder / row)
            well = folder / row / str(column)
            told = {"version": VERSION, "images": [{"path": image} for image in images]}
            _group(well, {"well": told})
            for image, source in images.items():
                _put(well / image, source)


def _put(image: Path, source: Path) -> None:
    labels = image / "labels"
    _group(labels, {"labels": [LABELS]})
    with zipfile.ZipFile(source) as archive:
        archive.extractall(labels / LABELS)
    attributes = json.loads((labels / LABELS / ".zattrs").read_text("utf-8"))
    attributes["image-label"]["source"] = {"image": "../../"}
    _group(labels / LABELS, attributes)
    (multiscale,) = attributes["multiscales"]
    for level in multiscale["datasets"]:
        level["path"] = f"labels/{LABELS}/{level['path']}"
    _group(image, {"multiscales": [multiscale]})


def _group(folder: Path, attributes: Mapping[str, Any] | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".zgroup").write_text(json.dumps({"zarr_format": 2}), "utf-8")
    if attributes is not None:
        (folder / ".zattrs").write_text(json.dumps(attributes), "utf-8")
