"""A mask as the regions of a pre-annotation."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Integer

from seg.images.outlines.label_studio import encode_brush
from seg.images.outlines.polygons import keyholed, outlines
from service.frontends.labelstudio.label_config import LabelConfig


def regions_of(
    mask: Integer[np.ndarray, "y x"],
    config: LabelConfig,
    label_of: Mapping[int, str],
    dice_of: Mapping[int, float],
) -> list[dict[str, Any]]:
    """One brush stroke a class, or a polygon for each part of it, by what the project draws with.

    Filling them gives the mask back: a channel without width leads a polygon to its holes.

    Args:
        mask: class indices.
        config: of the project.
        label_of: label of a class; others are left out.
        dice_of: what is predicted of a class, where it is.
    """
    height, width = mask.shape
    drawn = _strokes(mask, label_of) if config.kind == "brushlabels" else _polygons(mask, label_of)
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
            **({"score": dice_of[index]} if index in dice_of else {}),
            "value": {**value, config.kind: [label_of[index]]},
        }
        for number, (index, value) in enumerate(drawn)
    ]


def _strokes(
    mask: Integer[np.ndarray, "y x"], label_of: Mapping[int, str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    for index in label_of:
        pixels = mask == index
        if pixels.any():
            yield index, {"format": "rle", "rle": encode_brush(pixels)}


def _polygons(
    mask: Integer[np.ndarray, "y x"], label_of: Mapping[int, str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    percent = 100 / np.array(mask.shape[::-1])
    for index, polygon in outlines(mask) if mask.any() else []:
        if index in label_of:
            yield index, {"points": (keyholed(polygon) * percent).tolist(), "closed": True}
