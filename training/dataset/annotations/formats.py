"""Which tool wrote a file of annotations: its content says, one reader a format."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from seg.errors import ImageError, UnsupportedImageError
from training.dataset.annotations.annotated import Annotated
from training.dataset.annotations.cellpose import is_cellpose, read_cellpose
from training.dataset.annotations.coco import is_coco, is_panoptic, read_coco
from training.dataset.annotations.cvat import is_cvat, parse_xml, read_cvat
from training.dataset.annotations.geojson import is_geojson, read_geojson
from training.dataset.annotations.imagej import is_imagej, read_imagej
from training.dataset.annotations.label_studio import is_label_studio, read_label_studio
from training.dataset.annotations.labelme import is_labelme, read_labelme
from training.dataset.annotations.slicer import ENDING as SLICERS
from training.dataset.annotations.slicer import is_slicer, read_slicer
from training.dataset.text_files import json_of, said_of

ENDINGS = (SLICERS, "_seg.npy", ".geojson", ".json", ".xml", ".roi", ".zip")
"""Of files that are looked into, longer before shorter."""
TAKEN = (
    "COCO, LabelMe, CVAT for images, Label Studio JSON, GeoJSON (QuPath), ImageJ's regions, "
    "cellpose's _seg.npy and 3D Slicer's .seg.nrrd are read"
)

_JSON: tuple[tuple[Callable[[Any], bool], Callable[[Any], Annotated]], ...] = (
    (is_coco, read_coco),
    (is_labelme, read_labelme),
    (is_label_studio, read_label_studio),
    (is_geojson, read_geojson),
)


def read_annotations(path: Path) -> Annotated | None:
    """What the file says; None where it is none of annotations.

    Raises:
        UnsupportedImageError: it is of a tool that is known and not read.
        ImageError: it is damaged.
    """
    try:
        return _read(path)
    except UnsupportedImageError:
        raise
    except ImageError as error:
        where = "" if str(error).startswith(str(path)) else f"{path}: "
        raise ImageError(f"{where}{error}") from error


def _read(path: Path) -> Annotated | None:
    name = path.name.lower()
    if is_slicer(path):
        return read_slicer(path)
    if is_cellpose(path):
        return read_cellpose(path)
    if name.endswith((".json", ".geojson")):
        return _of_json(path)
    if name.endswith(".xml"):
        root = parse_xml(path)
        if is_cvat(root):
            return read_cvat(root)
        _unknown(path, _XML.get(root.tag))
    if name.endswith((".roi", ".zip")) and is_imagej(path):
        return read_imagej(path)
    if name.endswith(".txt"):
        _unknown(path, "YOLO's text files" if _is_yolo(path) else None)
    if name.endswith(".csv"):
        _unknown(path, _table_of(path))
    return None


def _of_json(path: Path) -> Annotated | None:
    try:
        raw = json_of(path)
    except (ValueError, RecursionError) as error:
        raise ImageError(f"{path}: {said_of(error)}") from error
    for is_it, read in _JSON:
        if is_it(raw):
            return read(raw)
    _unknown(path, next((tool for tool, is_it in _OTHERS.items() if is_it(raw)), None))
    return None


def _unknown(path: Path, tool: str | None) -> None:
    """Nothing where nobody knows the file."""
    if tool:
        raise UnsupportedImageError(
            f"{path}: {tool} are not read; {TAKEN}: export one of them, or masks as PNG"
        )


def _table_of(path: Path) -> str | None:
    """The tool whose columns a table has."""
    with path.open("rb") as file:
        head = file.read(2000).decode("utf-8-sig", "replace").splitlines()[:1]
    columns = {each.strip('" ').lower() for line in head for each in line.split(",")}
    return next((tool for tool, theirs in _TABLES.items() if theirs & columns), None)


def _first(raw: Any) -> Any:
    values = raw if isinstance(raw, list) else list(raw.values()) if isinstance(raw, dict) else []
    return values[0] if values and isinstance(values[0], dict) else {}


_TABLES = {
    "shapes of napari in a table": {"shape-type", "vertex-index"},
    "run lengths in a table, as Kaggle has them,": {"encodedpixels", "rle_mask"},
    "tables of the VGG Image Annotator (VIA)": {"region_shape_attributes"},
    "tables of Label Studio": {"annotation_id"},
}
_XML = {
    "annotation": "Pascal VOC's boxes in XML",
    "Annotations": "Aperio ImageScope's annotations",
    "ASAP_Annotations": "ASAP's annotations",
}
_OTHERS: dict[str, Callable[[Any], bool]] = {
    "annotations of COCO's panoptic task, whose masks are pictures of colors,": is_panoptic,
    "annotations of the VGG Image Annotator (VIA)": lambda raw: (
        (isinstance(raw, dict) and "_via_img_metadata" in raw) or "regions" in _first(raw)
    ),
    "annotations of Supervisely": lambda raw: (
        isinstance(raw, dict) and {"objects", "size", "tags"} <= raw.keys()
    ),
    "annotations of Labelbox": lambda raw: bool(
        {"data_row", "Labeled Data", "DataRow ID"} & (_first(raw).keys() | _keys(raw))
    ),
    "annotations of V7 Darwin": lambda raw: {"item", "annotations"} <= _keys(raw),
    "annotations of Datumaro": lambda raw: {"items", "categories"} <= _keys(raw),
    "annotations of SuperAnnotate": lambda raw: {"metadata", "instances"} <= _keys(raw),
    "annotations of Label Studio as JSON-MIN": lambda raw: (
        isinstance(raw, list) and {"annotator", "annotation_id"} <= _first(raw).keys()
    ),
    "annotations like COCO's without categories": lambda raw: (
        {"images", "annotations"} <= _keys(raw)
    ),
}


def _keys(raw: Any) -> set[str]:
    return set(raw) if isinstance(raw, dict) else set()


def _is_yolo(path: Path) -> bool:
    with path.open("rb") as file:
        lines = file.read(2000).decode("ascii", "replace").splitlines()[:5]
    rows = [line.split() for line in lines if line.strip()]

    def is_row(words: list[str]) -> bool:
        try:
            return (
                words[0].isdigit()
                and len(words) >= 5
                and all(0 <= float(word) <= 1 for word in words[1:])
            )
        except ValueError:
            return False

    return bool(rows) and all(map(is_row, rows[:-1] or rows))
