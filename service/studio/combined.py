"""What people drew and what a model says of the rest, as one mask.

A person has the last word wherever they said something; a model is asked about what nobody
annotated. An object of the model lies there by most of its voxels and is no rim around one that
somebody outlined more narrowly, or it has been said already what it is. What somebody began with a
model's mask and left as it was is the model's.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt16, UInt32
from scipy import ndimage

from seg.images import ClassInfo, Image
from seg.objects.objects import Objects
from service.studio.drawn import UNKNOWN
from service.studio.on_disk.classes import DrawnClasses
from service.studio.suggestions import Suggestion

GREY = (128, 128, 128)


@dataclass(frozen=True, eq=False)
class CombinedObjects:
    """Objects that people drew, and those of a model where nobody did."""

    objects: Objects
    are_drawn: Bool[np.ndarray, " n"]
    """Object 1 first."""


def combined_classes(
    drawn: UInt16[np.ndarray, "*spatial"] | None, found: Suggestion | None
) -> UInt16[np.ndarray, "*spatial"]:
    """Places of classes in the dataset's list."""
    if drawn is None or found is None:
        return _the_one(drawn, found)
    return np.where(drawn == UNKNOWN, found.numbers, drawn)


def combined_objects(
    drawn: UInt16[np.ndarray, "*spatial"] | None,
    named: Mapping[int, str],
    found: Suggestion | None,
    classes: DrawnClasses,
    image: Image,
    began: UInt16[np.ndarray, "*spatial"] | None = None,
) -> CombinedObjects:
    """Objects in the order of their first voxels.

    Args:
        drawn: numbers of objects, as the page has them; None where nobody drew.
        named: the class of each of them, where there is more than one class.
        found: what a model says; None where all is drawn.
        classes: of the dataset.
        image: that it is drawn on.
        began: objects of the model that the drawing began with.
    """
    labels = np.zeros(image.spatial_shape, np.uint32)
    numbered: list[tuple[str, float, bool]] = [("", np.nan, False)]
    usual = classes.names[1]
    if drawn is not None:
        labels[...] = np.where(drawn == UNKNOWN, 0, drawn)
        highest = int(labels.max(initial=0))
        left_as_it_was = set() if began is None else _same(labels, began)
        numbered += [
            (named.get(n, usual), np.nan, n not in left_as_it_was) for n in range(1, highest + 1)
        ]
    if found is not None:
        theirs = found.numbers
        if drawn is not None:
            theirs = _left_of(found.numbers, drawn)
        before = len(numbered) - 1
        labels[theirs > 0] = theirs[theirs > 0] + np.uint32(before)
        numbered += [
            (found.objects.get(n, usual), found.sure.get(n, np.nan), False)
            for n in range(1, int(theirs.max(initial=0)) + 1)
        ]
    there, first = np.unique(labels, return_index=True)
    order = there[np.argsort(first)]
    order = order[order > 0]
    table = np.zeros(len(numbered), np.uint32)
    table[order] = np.arange(1, len(order) + 1)
    kept = [numbered[number] for number in order]
    place_of = {name: place for place, name in enumerate(classes.names)}
    kinds = tuple(
        ClassInfo(index=place, name=name, color=_color(classes, name))
        for name, place in place_of.items()
        if place
    )
    objects = Objects(
        labels=table[labels],
        classes=np.array([place_of[name] for name, _, _ in kept], np.uint8),
        probabilities=np.array([sure for _, sure, _ in kept], np.float32),
        kinds=kinds,
        spacing=image.spacing,
        affine=image.affine,
    )
    return CombinedObjects(objects, np.array([is_drawn for _, _, is_drawn in kept], bool))


def _left_of(
    found: UInt16[np.ndarray, "*spatial"], drawn: UInt16[np.ndarray, "*spatial"]
) -> UInt16[np.ndarray, "*spatial"]:
    """A model's objects where nobody drew."""
    theirs = np.where(drawn == UNKNOWN, found, np.uint16(0))
    most = np.bincount(found.ravel())
    left = np.bincount(theirs.ravel(), minlength=len(most))
    gone = 2 * left <= most
    outlined = (drawn > 0) & (drawn != UNKNOWN)
    boxes = ndimage.find_objects(found.astype(np.int32))
    for number in np.unique(found[outlined]):
        if number and not gone[number]:
            box = boxes[number - 1]
            rest = theirs[box] == number
            is_around = (ndimage.binary_fill_holes(rest) & outlined[box]).any()
            gone[number] = is_around or _depth(rest) < _depth(found[box] == number) / 2
    theirs[gone[theirs]] = 0
    return theirs


def _depth(part: Bool[np.ndarray, "*spatial"]) -> float:
    """Of the innermost voxel, in voxels."""
    return float(ndimage.distance_transform_edt(np.pad(part, 1)).max())


def _same(drawn: UInt32[np.ndarray, "*spatial"], began: UInt16[np.ndarray, "*spatial"]) -> set[int]:
    """Numbers of the drawn objects that are one of those, voxel for voxel."""
    inside = drawn > 0
    numbers, under = drawn[inside], began[inside]
    sizes = np.bincount(numbers)
    highest = np.zeros(len(sizes), np.int64)
    lowest = np.full(len(sizes), UNKNOWN, np.int64)
    np.maximum.at(highest, numbers, under)
    np.minimum.at(lowest, numbers, under)
    is_one = (highest > 0) & (lowest == highest)
    is_one &= (
        sizes == np.bincount(began.ravel(), minlength=int(highest.max(initial=0)) + 1)[highest]
    )
    return set(np.flatnonzero(is_one).tolist())


def _the_one(
    drawn: UInt16[np.ndarray, "*spatial"] | None, found: Suggestion | None
) -> UInt16[np.ndarray, "*spatial"]:
    if drawn is not None:
        return drawn
    assert found is not None, "somebody drew, or a model was asked"
    return found.numbers


def _color(classes: DrawnClasses, name: str) -> tuple[int, int, int]:
    red, green, blue = classes.colors.get(name) or GREY
    return red, green, blue
