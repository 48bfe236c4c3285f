"""Objects as outlines: GeoJSON for QuPath, COCO, regions of interest for ImageJ."""

import io
import json
import uuid
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from typing import cast

import numpy as np

from seg.errors import UnsupportedImageError
from seg.images import Image
from seg.images.outlines.polygons import outlines
from seg.objects.measurements import Cell, measure_objects
from seg.objects.objects import Box, Objects

MEASURED_IN_PLACES = ("label", "class", "probability", "unit", "centroid", "bbox")
"""Columns that are no measurements, or that QuPath has by itself."""
DECIMALS = 3
"""Of a pixel of the file, where objects were found at another resolution."""
_NAMESPACE = uuid.UUID("6f1b1d36-6b5a-5b0e-9a53-0c9f8a1d2b4e")


def encode_objects_geojson(objects: Objects, image: Image | None = None) -> bytes:
    """A feature for each object, in pixels of the file from its outer corner, as QuPath reads it.

    Its id follows from where the object lies, so that the same image gives the same ids.

    Source: RFC 7946 and QuPath's documentation of GeoJSON (``objectType``, ``classification``,
    ``measurements``).
    """
    return b"".join(geojson_parts(objects, measure_objects(objects, image)))


def geojson_parts(objects: Objects, rows: Iterable[dict[str, Cell]]) -> Iterator[bytes]:
    """The same, a feature at a time; labels may lie in a file."""
    yield b'{"type":"FeatureCollection","features":['
    for number, row in enumerate(rows):
        feature = json.dumps(_feature(objects, row, _rings(objects, row)), separators=(",", ":"))
        yield (b"," if number else b"") + feature.encode()
    yield b"]}"


def _feature(
    objects: Objects, row: dict[str, Cell], polygons: list[list[list[list[int | float]]]]
) -> dict[str, object]:
    kind = next(info for info in objects.kinds if info.name == row["class"])
    measurements = {
        name: float(value)
        for name, value in row.items()
        if value is not None and not name.startswith(MEASURED_IN_PLACES)
    }
    if row["probability"] is not None:
        measurements["probability"] = float(row["probability"])
    geometry: dict[str, object] = {"type": "MultiPolygon", "coordinates": polygons}
    if len(polygons) == 1:
        geometry = {"type": "Polygon", "coordinates": polygons[0]}
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(_NAMESPACE, json.dumps([row["class"], polygons]))),
        "geometry": geometry,
        "properties": {
            "objectType": "detection",
            "name": str(row["label"]),
            "classification": {"name": kind.name, "color": list(kind.color)},
            "measurements": measurements,
        },
    }


def _rings(objects: Objects, row: Mapping[str, Cell]) -> list[list[list[list[int | float]]]]:
    """Polygons of an object, each an outer ring and its holes, in pixels of the image's file."""
    edges = [int(row[f"bbox-{at}"] or 0) for at in range(4)]
    box = (slice(edges[0], edges[2]), slice(edges[1], edges[3]))
    polygons = _rings_within(objects, int(row["label"] or 0), box)
    if objects.reduction is None:
        return cast(list[list[list[list[int | float]]]], polygons)
    y, x = objects.reduction
    return [
        [[[round(a * x, DECIMALS), round(b * y, DECIMALS)] for a, b in ring] for ring in rings]
        for rings in polygons
    ]


def _rings_within(objects: Objects, number: int, box: Box) -> list[list[list[list[int]]]]:
    inside = (objects.labels[box] == number).astype(np.uint8)
    corner = np.array([box[1].start, box[0].start])
    return [
        [
            (np.asarray(ring.coords) + corner).astype(int).tolist()
            for ring in (polygon.exterior, *polygon.interiors)
        ]
        for _, polygon in outlines(inside)
    ]


def _all_rings(objects: Objects) -> Iterator[list[list[list[list[int]]]]]:
    """Of each object."""
    for number, box in enumerate(objects.boxes(), start=1):
        assert box is not None  # every number occurs
        yield _rings_within(objects, number, box)


def encode_objects_coco(objects: Objects, image: Image | None = None) -> bytes:
    """An annotation for each object, of a volume one in each of its slices.

    Compressed run lengths as ``pycocotools`` has them; ``object`` is the number in the label image,
    ``score`` the probability where the model has one.
    """
    from pycocotools import mask as coco_mask

    planes = objects.labels if objects.dims == 3 else objects.labels[np.newaxis]
    height, width = planes.shape[1:]
    annotations: list[dict[str, object]] = []
    for number, box in enumerate(objects.boxes(), start=1):
        assert box is not None
        slices = range(box[0].start, box[0].stop) if objects.dims == 3 else range(1)
        for z in slices:
            inside = planes[z] == number
            if not inside.any():
                continue
            runs = coco_mask.encode(np.asfortranarray(inside, np.uint8))
            probability = float(objects.probabilities[number - 1])
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": z + 1,
                    "category_id": int(objects.classes[number - 1]),
                    "segmentation": {"size": runs["size"], "counts": runs["counts"].decode()},
                    "area": int(coco_mask.area(runs)),
                    "bbox": coco_mask.toBbox(runs).tolist(),
                    "iscrowd": 0,
                    "object": number,
                    **({} if np.isnan(probability) else {"score": round(probability, 4)}),
                }
            )
    coco = {
        "images": [
            {
                "id": z + 1,
                "file_name": objects.source if len(planes) == 1 else f"{objects.source}:{z}",
                "width": width,
                "height": height,
            }
            for z in range(len(planes))
        ],
        "categories": [
            {"id": info.index, "name": info.name, "color": list(info.color)}
            for info in objects.kinds
        ],
        "annotations": annotations,
    }
    return json.dumps(coco, separators=(",", ":")).encode()


def encode_objects_rois(objects: Objects, image: Image | None = None) -> bytes:
    """A ZIP of ImageJ's regions of interest, one an object, called by number and class.

    An object in several parts is told by its largest; holes are filled, as ImageJ's polygons are.

    Raises:
        UnsupportedImageError: ImageJ's file has no room for a coordinate.
    """
    from roifile import ROI_TYPE, ImagejRoi

    if max(objects.labels.shape) > np.iinfo(np.int16).max:
        raise UnsupportedImageError(
            "ImageJ's regions of interest end at 32767 pixels; ask for objects-geojson"
        )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, polygons in enumerate(_all_rings(objects), start=1):
            ring = max((polygon[0] for polygon in polygons), key=len)
            name = f"{number:06d}-{objects.name_of(number)}"
            roi = ImagejRoi.frompoints(np.array(ring[:-1], np.int32), name=name)
            roi.roitype = ROI_TYPE.POLYGON
            entry = zipfile.ZipInfo(f"{name}.roi")  # with a fixed date: equal objects, equal files
            archive.writestr(entry, roi.tobytes())
    return buffer.getvalue()
