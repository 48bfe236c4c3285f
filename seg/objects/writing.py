"""Objects as files."""

import csv
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from seg.errors import UnsupportedImageError
from seg.images import Image, Mask, encode_objects
from seg.objects.counting import Count
from seg.objects.measurements import in_csv, measure_objects
from seg.objects.objects import Objects
from seg.objects.outlines import (
    encode_objects_coco,
    encode_objects_geojson,
    encode_objects_rois,
)

LABEL_SUFFIX = {2: ".tif", 3: ".nii.gz"}
"""By dimensions: of label images of which the format was not said."""

Encode = Callable[[Objects, Image | None], bytes]


@dataclass(frozen=True, slots=True)
class ObjectFormat:
    """A format that objects can be had in."""

    name: str
    media_type: str
    suffix: str
    encode: Encode
    dims: tuple[int, ...] = (2, 3)
    """Dimensions of the images whose objects it can hold."""


def encode_labels(objects: Objects, suffix: str, image: Image | None = None) -> bytes:
    """The numbers of the objects with 32 bits, 0 for none, as TIFF or NIfTI.

    A NIfTI file keeps the header of its image, as masks do.
    """
    mask = objects.mask if image is None else Mask.on_grid_of(image, objects.labels)
    return encode_objects(mask, f"objects{suffix}")


def encode_objects_json(objects: Objects, image: Image | None = None) -> bytes:
    """Counts with their intervals, and all that was measured of each object."""
    rows = measure_objects(objects, image)
    return json.dumps({**counts_in_json(objects), "objects": rows}, indent=1).encode()


def encode_objects_csv(objects: Objects, image: Image | None = None) -> bytes:
    """A row for each object."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(in_csv(objects, image))
    return text.getvalue().encode()


def counts_in_json(objects: Objects) -> dict[str, Any]:
    """How many there are, in all and by class; ``ci95`` is null where the model can't say."""
    return {
        **_in_json(objects.total),
        "told_apart": objects.are_told_apart,
        "classes": {name: _in_json(count) for name, count in objects.counts.items()},
    }


def _in_json(count: Count) -> dict[str, Any]:
    return {"count": count.found, "ci95": count.interval and list(count.interval)}


OBJECT_FORMATS: Mapping[str, ObjectFormat] = MappingProxyType(
    {
        "objects": ObjectFormat(
            "objects", "application/json", ".objects.json", encode_objects_json
        ),
        "objects-csv": ObjectFormat("objects-csv", "text/csv", ".objects.csv", encode_objects_csv),
        "objects-geojson": ObjectFormat(
            "objects-geojson",
            "application/geo+json",
            ".objects.geojson",
            encode_objects_geojson,
            dims=(2,),
        ),
        "objects-coco": ObjectFormat(
            "objects-coco", "application/json", ".objects.coco.json", encode_objects_coco
        ),
        "objects-rois": ObjectFormat(
            "objects-rois", "application/zip", ".objects.zip", encode_objects_rois, dims=(2,)
        ),
    }
)
"""By name: all but the label images, whose format follows from the dimensions."""


def encode_instances(objects: Objects, format: str, image: Image | None = None) -> bytes:
    """Objects as a file.

    Args:
        objects: of an image.
        format: ``instances``, the label image, or one of ``OBJECT_FORMATS``.
        image: on which intensities are measured.

    Raises:
        UnsupportedImageError: there is no such format.
        ImageError: the image lies on another grid.
    """
    if format == "instances":
        return encode_labels(objects, LABEL_SUFFIX[objects.dims], image)
    if format not in OBJECT_FORMATS:
        names = ", ".join(("instances", *OBJECT_FORMATS))
        raise UnsupportedImageError(f"objects are written as {names}, got {format!r}")
    return OBJECT_FORMATS[format].encode(objects, image)
