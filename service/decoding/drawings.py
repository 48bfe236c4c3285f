"""What people drew as shapes, painted: each shape may cover all of the image."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Int32

from seg.errors import ImageError
from seg.images import Image
from seg.images.outlines.drawing import AnnotatedDrawing
from seg.images.outlines.label_studio import drawing_of
from seg.images.outlines.read_geojson import is_geojson, shapes_of_geojson
from seg.images.storage.files import Source, open_binary

DrawingKind = Literal["geojson", "label-studio"]
Painted = tuple[list[str], list[str], Int32[np.ndarray, "*spatial"]]
"""The label of each shape; kinds of what is no shape; and in each voxel the number of the shape on
top, from 1 on, 0 where none is."""


def paint(
    sources: Sequence[Source],
    *,
    kind: DrawingKind,
    shape: tuple[int, ...],
    spacing: tuple[float, ...] | None,
    are_objects: bool,
) -> Painted:
    """The shapes of a JSON file on an image's grid; not painted where something is no shape.

    Args:
        sources: one file: GeoJSON, or the results of an annotation of Label Studio.
        kind: which.
        shape: of the image, z, y, x or y, x.
        spacing: of it, in mm.
        are_objects: each shape is an object.

    Raises:
        ImageError: it is no such file, or a shape does not lie on this image.
    """
    (source,) = sources
    with open_binary(source) as file:
        text = file.read()
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ImageError("this is no JSON") from error
    left_out = Counter[str]()
    if kind == "label-studio":
        drawing = drawing_of(raw, left_out, (shape[-2], shape[-1]))
    elif is_geojson(raw):
        drawing = AnnotatedDrawing(shapes_of_geojson(raw, left_out))
    else:
        raise ImageError("polygons come as GeoJSON: a FeatureCollection, as QuPath exports it")
    labels = [each.label for each in drawing.shapes]
    if left_out := +left_out:
        return labels, sorted(left_out), np.zeros(shape, np.int32)
    image = Image(np.zeros((1, *shape), np.uint8), spacing=spacing)
    if lost := drawing.lost(image):
        raise ImageError(
            f"{lost} shapes hold no pixel of this image: they lie beside it, or between its pixels"
        )
    return labels, [], drawing.numbered(image) if are_objects else drawing.ordered(image)
