"""A mask as the regions of a pre-annotation."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

from seg.images.outlines.label_studio import encode_brush
from seg.images.outlines.polygons import keyholed, outlines
from seg.inference import Segmentation
from seg.objects import Objects
from service.frontends.labelstudio.label_config import LabelConfig

Points = Float[np.ndarray, "points 2"]
RegionShapes = Iterator[tuple[int, list[int] | Points]]
"""Class index of each region, and its stroke or polygon."""


def regions_of(
    found: Segmentation, config: LabelConfig, label_of: Mapping[int, str]
) -> list[dict[str, Any]]:
    """Brush strokes or polygons, by what the project draws with.

    A stroke is a class, a polygon a part of it, or an object where the model tells them apart.
    Filling them gives the mask back: a channel without width leads a polygon to its holes.

    Args:
        found: in a 2D image.
        config: of the project.
        label_of: label of a class; others are left out.
    """
    mask, objects = found.mask.array, found.objects
    height, width = mask.shape
    if config.kind == "brushlabels":
        drawn = _strokes(mask, label_of)
    elif objects is not None and objects.are_told_apart:
        drawn = _objects(objects)
    else:
        drawn = _polygons(mask)
    percent: Points = 100 / np.array([[width, height]])
    return [
        {
            "id": hashlib.sha256(f"{number} {index}".encode()).hexdigest()[:10],
            "from_name": config.from_name,
            "to_name": config.to_name,
            "type": config.kind,
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "readonly": False,
            "value": {
                **_value(shape, percent),
                config.kind: [label_of[index]],
            },
        }
        for number, (index, shape) in enumerate(drawn)
        if index in label_of
    ]


def _value(shape: list[int] | Points, percent: Points) -> dict[str, Any]:
    if isinstance(shape, list):
        return {"format": "rle", "rle": shape}
    return {"points": (shape * percent).tolist(), "closed": True}


def _strokes(mask: Integer[np.ndarray, "y x"], label_of: Mapping[int, str]) -> RegionShapes:
    for index in label_of:
        pixels = mask == index
        if pixels.any():
            yield index, encode_brush(pixels)


def _polygons(mask: Integer[np.ndarray, "y x"]) -> RegionShapes:
    for index, polygon in outlines(mask) if mask.any() else []:
        yield index, keyholed(polygon)


def _objects(objects: Objects) -> RegionShapes:
    for number, box in enumerate(objects.boxes(), start=1):
        if box is not None:
            alone = (objects.labels[box] == number).astype(np.uint8)
            corner = [box[1].start, box[0].start]
            for _, polygon in outlines(alone):
                yield int(objects.classes[number - 1]), keyholed(polygon) + corner
