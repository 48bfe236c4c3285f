"""LabelMe: one JSON file an image, beside it.

Source: labelme's own ``label_file.py`` and ``utils/shape.py``.
"""

import base64
import binascii
import io
from collections import Counter
from typing import Any

import numpy as np
from PIL import Image as Picture
from PIL import UnidentifiedImageError

from seg.errors import ImageError
from seg.images.outlines.drawing import (
    OBJECT,
    AnnotatedDrawing,
    Polygon,
    Runs,
    Shape,
    ellipse,
    polygon_of,
    rectangle,
)
from training.dataset.annotations.annotated import Annotated

WITHOUT_AREA = ("point", "points", "line", "linestrip")


def is_labelme(raw: Any) -> bool:
    """The JSON of a file is LabelMe's."""
    return isinstance(raw, dict) and isinstance(raw.get("shapes"), list) and "imagePath" in raw


def read_labelme(raw: Any) -> Annotated:
    """The drawing of the one image that the file names.

    Raises:
        ImageError: a shape is not as LabelMe has it.
    """
    try:
        return _read(raw)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ImageError(f"this LabelMe file is not as it should be: {error!r:.100}") from error


def _read(raw: Any) -> Annotated:
    height, width = raw.get("imageHeight"), raw.get("imageWidth")
    size = (int(height), int(width)) if height and width else None
    shapes, left_out = [], Counter[str]()
    for entry in raw["shapes"]:
        kind = entry.get("shape_type") or "polygon"
        label = str(entry["label"] or OBJECT)
        if kind == "mask":
            shapes.append(Shape(label, runs=_pixels(entry, size), group=entry.get("group_id")))
        elif polygon := _polygon(kind, entry["points"]):
            shapes.append(Shape(label, (polygon,), group=entry.get("group_id")))
        else:
            left_out[kind] += 1
    name = str(raw["imagePath"] or "")
    return Annotated("LabelMe", {name: AnnotatedDrawing(tuple(shapes), size)}, left_out=left_out)


def _polygon(kind: str, points: Any) -> Polygon | None:
    if kind in WITHOUT_AREA or (kind in ("rectangle", "circle") and len(points) < 2):
        return None
    if kind == "rectangle":  # two corners, or since LabelMe 5.6 four
        across, down = zip(*points, strict=True)
        return rectangle(min(across), min(down), max(across), max(down))
    if kind == "circle":
        (x, y), rim = points
        radius = float(np.hypot(rim[0] - x, rim[1] - y))
        return ellipse(x, y, radius, radius)
    if kind not in ("polygon", "oriented_rectangle", "rotation"):  # the last is X-AnyLabeling's
        raise ImageError(f"LabelMe's shapes of type {kind} are not read; draw polygons or masks")
    return polygon_of(points)


def _pixels(entry: Any, size: tuple[int, int] | None) -> Runs:
    """A mask within its box, whose corners are both in it."""
    if size is None:
        raise ImageError("a mask of LabelMe needs imageHeight and imageWidth")
    try:
        part = np.asarray(Picture.open(io.BytesIO(base64.b64decode(entry["mask"])))) > 0
    except (binascii.Error, UnidentifiedImageError, OSError) as error:
        raise ImageError("a mask of LabelMe is no picture") from error
    left, top = (round(each) for each in entry["points"][0])
    pixels = np.zeros(size, bool)
    target = pixels[max(top, 0) : top + part.shape[0], max(left, 0) : left + part.shape[1]]
    target |= part[max(-top, 0) :, max(-left, 0) :][: target.shape[0], : target.shape[1]]
    return Runs.of(pixels)
