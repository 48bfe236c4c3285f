"""Objects as outlines: GeoJSON for QuPath, COCO, regions of interest for ImageJ."""

import io
import json
import re
import uuid
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from jaxtyping import Bool

from seg.errors import UnsupportedImageError
from seg.images import Image
from seg.images.outlines.coco import compressed
from seg.images.outlines.regions import Runs
from seg.images.storage.file_backed import let_go
from seg.objects.measurements import Cell, measure_objects
from seg.objects.objects import Box, Objects
from seg.objects.rings import polygons_of

if TYPE_CHECKING:
    from roifile import ImagejRoi

MEASURED_IN_PLACES = ("label", "class", "probability", "unit", "centroid", "bbox")
"""Columns that are no measurements, or that QuPath has by itself."""
COMPACT = (",", ":")
DECIMALS = 3
"""Of a pixel of the file, where objects were found at another resolution."""
BATCH = 512
"""Objects whose outlines are found at once."""
AT_ONCE = 2**22
"""Pixels that are looked at for them."""
CLASS_OF_ROI = "class: "
"""Begins what a region's properties say of its class."""
_MOVE, _LINE, _CLOSE = 0, 1, 4
"""Steps of a composite region, as Java's ``PathIterator`` counts them."""
_LONG = re.compile("[^\0-\uffff]")
"""Letters that Java counts as two."""
_NO_NAME = re.compile(r'[\\/:*?"<>|\x00-\x1f]')
"""Letters that no file may be called by."""
Polygons = list[list[list[list[int | float]]]]
Item = TypeVar("Item")
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
    separator = b""
    for some in batched(rows):
        for row, polygons in zip(some, _rings(objects, some), strict=True):
            feature = json.dumps(_feature(objects, row, polygons), separators=COMPACT)
            yield separator + feature.encode()
            separator = b","
    yield b"]}"


def _feature(objects: Objects, row: dict[str, Cell], polygons: Polygons) -> dict[str, object]:
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


def _rings(objects: Objects, rows: Sequence[Mapping[str, Cell]]) -> Iterator[Polygons]:
    """Of each object its polygons, in pixels of the image's file."""
    numbers = [int(row["label"] or 0) for row in rows]
    for polygons in rings_within(objects, numbers, list(boxes_in(rows, 2))):
        if objects.reduction is None:
            yield polygons
            continue
        y, x = objects.reduction
        yield [
            [[[round(a * x, DECIMALS), round(b * y, DECIMALS)] for a, b in ring] for ring in rings]
            for rings in polygons
        ]


def rings_within(
    objects: Objects, numbers: Sequence[int], boxes: Sequence[Box]
) -> Iterator[Polygons]:
    """Of each of some objects its polygons, an outer ring and its holes each, in pixels.

    Args:
        objects: whose labels may lie in a file.
        numbers: of those that are wanted, rising.
        boxes: around them.
    """
    around = tuple(
        slice(min(box[axis].start for box in boxes), max(box[axis].stop for box in boxes))
        for axis in (0, 1)
    )
    if len(numbers) > 1 and prod(side.stop - side.start for side in around) > AT_ONCE:
        half = len(numbers) // 2
        yield from rings_within(objects, numbers[:half], boxes[:half])
        yield from rings_within(objects, numbers[half:], boxes[half:])
        return
    here = np.array(objects.labels[around])
    let_go(objects.labels)
    new = np.zeros(numbers[-1] - numbers[0] + 2, np.uint32)  # the last one is of all others
    new[np.array(numbers) - numbers[0]] = np.arange(1, len(numbers) + 1)
    # of whole numbers without a sign, those before the first are very large ones
    own = new[np.minimum(here - np.uint32(numbers[0]), np.uint32(len(new) - 1))]
    top, left = (side.start for side in around)
    for polygons in polygons_of(own, len(numbers)):
        yield [[[[x + left, y + top] for x, y in ring] for ring in rings] for rings in polygons]


def boxes_in(rows: Iterable[Mapping[str, Cell]], dims: int) -> Iterator[Box]:
    """Around each object, from what was measured of it."""
    for row in rows:
        edges = [int(row[f"bbox-{at}"] or 0) for at in range(2 * dims)]
        yield tuple(slice(*edge) for edge in zip(edges[:dims], edges[dims:], strict=True))


def encode_objects_coco(objects: Objects, image: Image | None = None) -> bytes:
    """An annotation for each object, of a volume one in each of its slices.

    Compressed run lengths as ``pycocotools`` has them; ``object`` is the number in the label image,
    ``score`` the probability where the model has one.
    """
    return b"".join(coco_parts(objects, objects.boxes()))


def coco_parts(objects: Objects, boxes: Iterable[Box | None]) -> Iterator[bytes]:
    """The same, an annotation at a time; labels may lie in a file."""
    slices = objects.labels.shape[0] if objects.dims == 3 else 1
    height, width = objects.labels.shape[-2:]
    head = {
        "images": [
            {
                "id": z + 1,
                "file_name": objects.source if slices == 1 else f"{objects.source}:{z}",
                "width": width,
                "height": height,
            }
            for z in range(slices)
        ],
        "categories": [
            {"id": info.index, "name": info.name, "color": list(info.color)}
            for info in objects.kinds
        ],
    }
    yield json.dumps(head, separators=COMPACT)[:-1].encode() + b',"annotations":['
    for number, annotation in enumerate(_annotations(objects, boxes), start=1):
        text = json.dumps({"id": number, **annotation}, separators=COMPACT)
        yield (b"," if number > 1 else b"") + text.encode()
    yield b"]}"


def _annotations(objects: Objects, boxes: Iterable[Box | None]) -> Iterator[dict[str, object]]:
    height, width = objects.labels.shape[-2:]
    for number, box in enumerate(boxes, start=1):
        assert box is not None  # every number occurs
        inside = np.asarray(objects.labels[box] == number)
        if number % BATCH == 0:
            let_go(objects.labels)
        planes = inside if objects.dims == 3 else inside[np.newaxis]
        first = box[0].start if objects.dims == 3 else 0
        probability = float(objects.probabilities[number - 1])
        top, left = (side.start for side in box[-2:])
        for z, plane in enumerate(planes, start=first):
            if not plane.any():
                continue
            rows, columns = (np.flatnonzero(plane.any(axis=axis)) for axis in (1, 0))
            yield {
                "image_id": z + 1,
                "category_id": int(objects.classes[number - 1]),
                "segmentation": {
                    "size": [height, width],
                    "counts": compressed(_runs(plane, top, left), (height, width)),
                },
                "area": int(plane.sum()),
                "bbox": [
                    float(left + columns[0]),
                    float(top + rows[0]),
                    float(np.ptp(columns) + 1),
                    float(np.ptp(rows) + 1),
                ],
                "iscrowd": 0,
                "object": number,
                **({} if np.isnan(probability) else {"score": round(probability, 4)}),
            }


def _runs(plane: Bool[np.ndarray, "y x"], top: int, left: int) -> Runs:
    """Runs of pixels down each column of a part of a picture that begins there."""
    bordered = np.pad(plane.T.astype(np.int8), ((0, 0), (1, 1)))
    steps = np.diff(bordered, axis=1)
    columns, starts = np.nonzero(steps > 0)
    _, ends = np.nonzero(steps < 0)
    return np.stack([columns + left, starts + top, ends + top], axis=1)


def encode_objects_rois(objects: Objects, image: Image | None = None) -> bytes:
    """A ZIP of ImageJ's regions of interest, one an object, called by number and class.

    An object with holes or in several parts is a composite region.

    Raises:
        UnsupportedImageError: ImageJ's file has no room for a coordinate.
    """
    buffer = io.BytesIO()
    write_rois(objects, objects.boxes(), buffer)
    return buffer.getvalue()


def write_rois(objects: Objects, boxes: Iterable[Box | None], target: Path | io.BytesIO) -> None:
    """The same, an object at a time; labels may lie in a file.

    Raises:
        UnsupportedImageError: ImageJ's file has no room for a coordinate.
    """
    if max(objects.labels.shape) > np.iinfo(np.int16).max:
        raise UnsupportedImageError(
            "ImageJ's regions of interest end at 32767 pixels; ask for objects-geojson"
        )
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for some in batched(enumerate(boxes, start=1)):
            numbers = [number for number, _ in some]
            around = [box for _, box in some if box is not None]
            assert len(around) == len(some)  # every number occurs
            for number, polygons in zip(
                numbers, rings_within(objects, numbers, around), strict=True
            ):
                kind = " ".join(_LONG.sub("?", objects.name_of(number)).split())
                name = f"{number:06d}-{kind}"
                roi = _roi_of(polygons)
                roi.name, roi.props = name, f"{CLASS_OF_ROI}{kind}\n"
                # with a fixed date: equal objects, equal files
                entry = zipfile.ZipInfo(f"{_NO_NAME.sub('_', name)}.roi")
                archive.writestr(entry, roi.tobytes())


def _roi_of(polygons: Polygons) -> "ImagejRoi":
    """One ring as a polygon, several as a shape: for each point how to get there, and where."""
    from roifile import ROI_TYPE, ImagejRoi

    rings = [np.array(ring[:-1], np.int32) for polygon in polygons for ring in polygon]
    roi = ImagejRoi.frompoints(np.concatenate(rings))
    if len(rings) == 1:
        roi.roitype = ROI_TYPE.POLYGON
        return roi
    roi.roitype, roi.integer_coordinates, roi.n_coordinates = ROI_TYPE.RECT, None, 0
    path: list[float] = []
    for ring in rings:
        for at, (x, y) in enumerate(ring.tolist()):
            path += [_LINE if at else _MOVE, x, y]
        path.append(_CLOSE)
    roi.multi_coordinates, roi.shape_roi_size = np.array(path, np.float32), len(path)
    return roi


def batched(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Some at a time, since outlines of many objects are found at once."""
    left = iter(items)
    while some := list(islice(left, BATCH)):
        yield some
