"""Shapes that people drew, of GeoJSON as QuPath exports it too, in the numbers of the dataset."""

from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
from jaxtyping import Int32

from seg.images import Image
from seg.images.outlines.drawing import OBJECT
from service.decoding.image_decoder import Check, ImageDecoder
from service.problems.response import Problem
from service.studio.drawn import UNKNOWN, from_page
from service.studio.on_disk.classes import DrawnClasses
from service.studio.on_disk.drawing import DrawnMask


def from_geojson(
    file: BinaryIO,
    image: Image,
    is_rest_ignored: bool,
    classes: DrawnClasses,
    decoder: ImageDecoder,
    check: Check,
) -> DrawnMask:
    """The polygons as a mask of the dataset; where objects are told apart, each is one.

    Args:
        file: GeoJSON.
        image: that it was drawn on.
        is_rest_ignored: what lies in no polygon is not annotated; else it is background.
        classes: of the dataset.
        decoder: reads and paints them.
        check: is called many times a second; what it raises ends that.

    Raises:
        Problem: 422, it names what is no class, or holds what encloses nothing or is covered.
        ImageError: it is no GeoJSON, or a polygon does not lie on this image.
    """
    labels, left_out, order = decoder.drawing(
        file, "geojson", image, are_objects=classes.are_objects, check=check
    )
    if left_out:
        what = ", ".join(left_out)
        raise Problem(422, f"only polygons enclose something; the file holds {what} as well")
    only = classes.names[1] if len(classes.names) == 2 else None
    names = [only if label == OBJECT and only else label for label in labels]
    return from_shapes(names, order, image, is_rest_ignored, classes)


def from_shapes(
    names: Sequence[str],
    order: Int32[np.ndarray, "*spatial"],
    image: Image,
    is_rest_ignored: bool,
    classes: DrawnClasses,
) -> DrawnMask:
    """What somebody drew as a mask of the dataset; where objects are told apart, each shape is one.

    Args:
        names: the class that each shape stands for.
        order: the number of the shape in each voxel, from 1 on; 0 where none is.
        image: that it was drawn on.
        is_rest_ignored: what lies in no shape is not annotated; else it is background.
        classes: of the dataset.

    Raises:
        Problem: 422, a name is of no class, there are too many objects, or one would be lost under
            those after it, or all of a class.
    """
    strange = sorted(set(names) - set(classes.names))
    if strange:
        raise Problem(
            422, f"{strange[0][:40]!r} is no class here; they are {', '.join(classes.names)}"
        )
    there = set(np.unique(order).tolist())
    shown = {names[number - 1] for number in there - {0}}
    covered = [
        number
        for number, name in enumerate(names, start=1)
        if number not in there and (classes.are_objects or name not in shown)
    ]
    if covered:
        raise Problem(
            422,
            f"{len(covered)} of {len(names)} shapes lie wholly under those after them (the first "
            f"is number {covered[0]}), so that they would be lost: send the smaller last",
        )
    place_of = {name: place for place, name in enumerate(classes.names)}
    places = np.array([0, *(place_of[name] for name in names)], np.uint16)[order]
    numbers, objects = places, dict[int, str]()
    if classes.are_objects:
        if order.max(initial=0) >= UNKNOWN:
            raise Problem(422, f"at most {UNKNOWN - 1} objects can be kept of one image")
        numbers = np.where(places > 0, order, 0).astype(np.uint16)
        objects = {number: name for number, name in enumerate(names, start=1) if place_of[name]}
    if is_rest_ignored:
        numbers[order == 0] = UNKNOWN
    return from_page(numbers, image, objects, classes)
