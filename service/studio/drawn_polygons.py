"""Shapes that people drew, of GeoJSON as QuPath exports it too, in the numbers of the dataset."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np

from seg.images import Image
from seg.images.outlines.drawing import OBJECT, AnnotatedDrawing
from seg.images.outlines.read_geojson import is_geojson, shapes_of_geojson
from service.problems.response import Problem
from service.studio.classes import DrawnClasses
from service.studio.drawn import UNKNOWN, from_page
from service.studio.folder import DrawnMask


def from_geojson(
    file: BinaryIO, image: Image, is_rest_ignored: bool, classes: DrawnClasses
) -> DrawnMask:
    """The polygons as a mask of the dataset; where objects are told apart, each is one.

    Args:
        file: GeoJSON.
        image: that it was drawn on.
        is_rest_ignored: what lies in no polygon is not annotated; else it is background.
        classes: of the dataset.

    Raises:
        Problem: 422, it is no GeoJSON, or names what is no class.
        ImageError: a polygon does not lie on this image.
    """
    file.seek(0)
    try:
        raw = json.loads(file.read())
    except (ValueError, RecursionError):
        raise Problem(422, "this is no JSON") from None
    if not is_geojson(raw):
        raise Problem(422, "polygons come as GeoJSON: a FeatureCollection, as QuPath exports it")
    left_out = Counter[str]()
    shapes = shapes_of_geojson(raw, left_out)
    if left_out:
        what = ", ".join(sorted(left_out))
        raise Problem(422, f"only polygons enclose something; the file holds {what} as well")
    only = classes.names[1] if len(classes.names) == 2 else None
    names = [only if shape.label == OBJECT and only else shape.label for shape in shapes]
    return from_shapes(AnnotatedDrawing(shapes), names, image, is_rest_ignored, classes)


def from_shapes(
    drawing: AnnotatedDrawing,
    names: Sequence[str],
    image: Image,
    is_rest_ignored: bool,
    classes: DrawnClasses,
) -> DrawnMask:
    """What somebody drew as a mask of the dataset; where objects are told apart, each shape is one.

    Args:
        drawing: of the image.
        names: the class that each of its shapes stands for, the same for the same label.
        image: that it was drawn on.
        is_rest_ignored: what lies in no shape is not annotated; else it is background.
        classes: of the dataset.

    Raises:
        Problem: 422, a name is of no class, or a shape holds nothing of the image.
        ImageError: it was drawn on another image.
    """
    strange = sorted(set(names) - set(classes.names))
    if strange:
        raise Problem(
            422, f"{strange[0][:40]!r} is no class here; they are {', '.join(classes.names)}"
        )
    place_of = {name: place for place, name in enumerate(classes.names)}
    if lost := drawing.lost(image):
        raise Problem(422, f"{lost} shapes hold no pixel of this image: they lie beside it")
    labelled = zip(drawing.shapes, names, strict=True)
    places = drawing.painted(image, {shape.label: place_of[name] for shape, name in labelled})
    numbers = places.astype(np.uint16)
    objects: dict[int, str] = {}
    if classes.are_objects:
        numbered = drawing.numbered(image)
        if numbered.max(initial=0) >= UNKNOWN:
            raise Problem(422, f"at most {UNKNOWN - 1} objects can be kept of one image")
        numbers = np.where(places > 0, numbered, 0).astype(np.uint16)
        objects = {number: name for number, name in enumerate(names, start=1) if place_of[name]}
    if is_rest_ignored:
        drawn = drawing.painted(image, dict.fromkeys(drawing.labels(), 1))
        numbers[drawn == 0] = UNKNOWN
    return from_page(numbers, image, objects, classes)
