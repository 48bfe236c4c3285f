"""Objects as files."""

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from seg.errors import UnsupportedImageError
from seg.images import Image, MadeBy
from seg.objects.counting import Count
from seg.objects.label_images import encode_dicom, encode_labels, encode_seg_nrrd, encode_zarr
from seg.objects.measurements import Cell, columns_of, measure_objects
from seg.objects.objects import Objects
from seg.objects.outlines import (
    boxes_in,
    coco_parts,
    encode_objects_coco,
    encode_objects_geojson,
    encode_objects_rois,
    geojson_parts,
)
from seg.tables.comma_separated import csv_line

LABEL_SUFFIX = {2: ".tif", 3: ".nii.gz"}
"""By dimensions: of label images of which the format was not said."""

ROWS_AT_ONCE = 20_000
Row = dict[str, Cell]
Encode = Callable[[Objects, Image | None, MadeBy | None], bytes]
TEXTS = ("class", "unit")
FLAGS = ("touches_border",)
COUNTS = ("label", "num_pixels", "neighbors")
"""Columns of a table by type; all others are 64-bit floats."""


@dataclass(frozen=True, slots=True)
class ObjectFormat:
    """A format that objects can be had in."""

    name: str
    media_type: str
    suffix: str
    encode: Encode
    dims: tuple[int, ...] = (2, 3)
    """Dimensions of the images whose objects it can hold."""


def encode_objects_json(objects: Objects, image: Image | None = None) -> bytes:
    """Counts with their intervals, and all that was measured of each object."""
    return b"".join(_json_parts(objects, measure_objects(objects, image)))


def _json_parts(objects: Objects, rows: Iterable[Row]) -> Iterator[bytes]:
    head = json.dumps({**counts_in_json(objects), "objects": []}, indent=1)
    yield head.removesuffix("[]\n}").encode() + b"["
    for number, row in enumerate(rows):
        yield (b",\n  " if number else b"\n  ") + json.dumps(row).encode()
    yield b"\n ]\n}"


def encode_objects_csv(objects: Objects, image: Image | None = None) -> bytes:
    """A row for each object."""
    columns = columns_of(objects, image)
    return b"".join(_csv_parts(columns, measure_objects(objects, image)))


def _csv_parts(columns: Sequence[str], rows: Iterable[Row]) -> Iterator[bytes]:
    yield csv_line(columns).encode()
    for row in rows:
        yield csv_line([row.get(name) for name in columns]).encode()


STREAMED_OBJECT_FORMATS = (
    *("objects", "objects-csv", "objects-parquet"),
    *("objects-geojson", "objects-coco", "objects-rois"),
    *("instances", "instances-tiff", "instances-nifti", "instances-zarr"),
)
"""Those that can be written of an image that stays in its file."""


def object_parts(
    objects: Objects, format: str, columns: Sequence[str], rows: Iterable[Row]
) -> Iterator[bytes]:
    """A table or outlines, an object at a time.

    Args:
        objects: whose labels may lie in a file.
        format: ``objects``, ``objects-csv``, ``objects-coco`` or ``objects-geojson``.
        columns: of the rows.
        rows: what was measured of each.
    """
    match format:
        case "objects":
            return _json_parts(objects, rows)
        case "objects-csv":
            return _csv_parts(columns, rows)
        case "objects-coco":
            return coco_parts(objects, boxes_in(rows, objects.dims))
        case _:
            return geojson_parts(objects, rows)


def encode_objects_parquet(objects: Objects, image: Image | None = None) -> bytes:
    """The same rows as a Parquet file, each column with its type; what is not known is null.

    Raises:
        UnsupportedImageError: pyarrow is not installed.
    """
    buffer = io.BytesIO()
    columns = columns_of(objects, image)
    write_parquet(objects, columns, measure_objects(objects, image), buffer)
    return buffer.getvalue()


def write_parquet(
    objects: Objects, columns: Sequence[str], rows: Iterable[Row], target: Path | io.BytesIO
) -> None:
    """The same, some rows in memory at a time.

    Raises:
        UnsupportedImageError: pyarrow is not installed.
    """
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError as error:
        raise UnsupportedImageError(
            "Parquet is written by pyarrow, which is not installed here (pip install "
            "'resunet-seg[parquet]'); ask for objects-csv"
        ) from error
    counts = json.dumps(counts_in_json(objects))
    schema = arrow.schema([(name, _arrow_type(name, arrow)) for name in columns])
    schema = schema.with_metadata({"objects": counts})
    left = iter(rows)
    with parquet.ParquetWriter(target, schema) as writer:
        while some := list(islice(left, ROWS_AT_ONCE)):
            values: dict[str, list[Cell]] = {n: [row.get(n) for row in some] for n in columns}
            writer.write_table(arrow.table(values, schema=schema))


def _arrow_type(column: str, arrow: Any) -> Any:
    if column in TEXTS:
        return arrow.string()
    if column in FLAGS:
        return arrow.bool_()
    if column in COUNTS or column.startswith("bbox-"):
        return arrow.int64()
    return arrow.float64()


def counts_in_json(objects: Objects) -> dict[str, Any]:
    """How many there are, in all and by class; ``ci95`` is null where the model can't say."""
    return {
        **_in_json(objects.total),
        "told_apart": objects.are_told_apart,
        "classes": {name: _in_json(count) for name, count in objects.counts.items()},
    }


def count_cells(count: Count | None) -> dict[str, str]:
    """Cells of a class in a table; empty ones where its objects or their interval are not known."""
    low, high = (count and count.interval) or ("", "")
    found = "" if count is None else count.found
    return {"objects": f"{found}", "objects_low": f"{low}", "objects_high": f"{high}"}


def _in_json(count: Count) -> dict[str, Any]:
    return {"count": count.found, "ci95": count.interval and list(count.interval)}


def _plain(
    name: str,
    media_type: str,
    suffix: str,
    encode: Callable[[Objects, Image | None], bytes],
    dims: tuple[int, ...] = (2, 3),
) -> ObjectFormat:
    """One that does not say what found the objects."""
    return ObjectFormat(
        name, media_type, suffix, lambda objects, image, _: encode(objects, image), dims
    )


def _labels(name: str, media_type: str, suffix: str) -> ObjectFormat:
    return ObjectFormat(
        f"instances-{name}",
        media_type,
        f".instances{suffix}",
        lambda objects, image, _: encode_labels(objects, suffix, image),
    )


def _dicom(name: str, kind: Literal["BINARY", "LABELMAP"]) -> ObjectFormat:
    return ObjectFormat(
        f"instances-{name}",
        "application/dicom",
        ".instances.dcm",
        lambda objects, image, made_by: encode_dicom(objects, image, made_by, kind),
    )


OBJECT_FORMATS: Mapping[str, ObjectFormat] = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            _plain("objects", "application/json", ".objects.json", encode_objects_json),
            _plain("objects-csv", "text/csv", ".objects.csv", encode_objects_csv),
            _plain(
                "objects-parquet",
                "application/vnd.apache.parquet",
                ".objects.parquet",
                encode_objects_parquet,
            ),
            _plain(
                "objects-geojson",
                "application/geo+json",
                ".objects.geojson",
                encode_objects_geojson,
                dims=(2,),
            ),
            _plain("objects-coco", "application/json", ".objects.coco.json", encode_objects_coco),
            _plain(
                "objects-rois", "application/zip", ".objects.zip", encode_objects_rois, dims=(2,)
            ),
            _labels("tiff", "image/tiff", ".tif"),
            _labels("nifti", "application/x-nifti", ".nii.gz"),
            _labels("nrrd", "application/x-nrrd", ".nrrd"),
            _plain(
                "instances-seg-nrrd", "application/x-nrrd", ".instances.seg.nrrd", encode_seg_nrrd
            ),
            _plain("instances-zarr", "application/zip", ".instances.ome.zarr.zip", encode_zarr),
            _dicom("dicom-seg", "BINARY"),
            _dicom("dicom-labelmap", "LABELMAP"),
        )
    }
)
"""By name, all but ``instances``: the label image whose format follows from the dimensions."""


def encode_instances(
    objects: Objects, format: str, image: Image | None = None, made_by: MadeBy | None = None
) -> bytes:
    """Objects as a file.

    Args:
        objects: of an image.
        format: ``instances``, the label image, or one of ``OBJECT_FORMATS``.
        image: on which intensities are measured, and to whose headers DICOM objects refer.
        made_by: what found them, for DICOM objects to say.

    Raises:
        UnsupportedImageError: there is no such format, or it cannot hold these objects.
        ImageError: the image lies on another grid.
    """
    if format == "instances":
        return encode_labels(objects, LABEL_SUFFIX[objects.dims], image)
    if format not in OBJECT_FORMATS:
        names = ", ".join(("instances", *OBJECT_FORMATS))
        raise UnsupportedImageError(f"objects are written as {names}, got {format!r}")
    entry = OBJECT_FORMATS[format]
    if objects.dims not in entry.dims:
        raise UnsupportedImageError(
            f"{format} holds objects of {entry.dims[0]}D images, these {objects.dims}D; ask for "
            "instances, or a table"
        )
    return entry.encode(objects, image, made_by)
