"""What a network learns of objects, on its own grid: borders between them, and depth within.

A *border* is what lies within some voxels of another object of the same class; it becomes a label
of its own, after those of the classes. *Depth* is the distance to the object's edge as a share of
the largest in it, so that small and large objects have cores alike. Letters: ``n`` objects.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int32, UInt8
from scipy import ndimage

from training.dataset import IGNORE, Legend
from training.dataset.classes import make_classes
from training.run.plan import Plan

FULL = 255
"""Depth of an object's middle."""


WITH_BORDERS, WITH_DEPTHS = ("border", "auto"), ("distance", "auto")
"""Ways to tell objects apart."""


def learns_borders(plan: Plan) -> bool:
    """Whether a border is a class of its own."""
    return plan.instances in WITH_BORDERS


def learns_depths(plan: Plan) -> bool:
    """Whether depth has channels."""
    return plan.instances in WITH_DEPTHS


def learnt_legend(legend: Legend, plan: Plan) -> Legend:
    """The labels that the network learns: the classes, then the border of each."""
    if not learns_borders(plan):
        return legend
    names = [info.name for info in legend.classes]
    colors = {info.name: info.color for info in legend.classes}
    borders = [f"border of {name}" for name in names[1:]]
    return Legend(make_classes([*names, *borders], colors), ignores=legend.ignores)


def outputs_of(legend: Legend, instances: str) -> int:
    """Channels of the network: classes, their borders, their depths."""
    times = (instances in WITH_BORDERS) + (instances in WITH_DEPTHS)
    return legend.outputs + times * (len(legend.classes) - 1)


def with_borders(
    labels: UInt8[np.ndarray, "*grid"],
    objects: Int32[np.ndarray, "*grid"],
    classes: int,
    width: Sequence[int],
) -> UInt8[np.ndarray, "*grid"]:
    """Labels in which the border of class ``c`` is label ``classes - 1 + c``.

    Args:
        labels: of classes.
        objects: their numbers; 0 for none.
        classes: how many there are, background included.
        width: voxels of each object, one number an axis.
    """
    target = labels.copy()
    size = [2 * each + 1 for each in width]
    for index in range(1, classes):
        own = np.where(labels == index, objects, 0)
        if own.any():
            highest = ndimage.maximum_filter(own, size, mode="nearest")
            nobody = np.int32(2**31 - 1)
            lowest = ndimage.minimum_filter(np.where(own > 0, own, nobody), size, mode="nearest")
            target[(own > 0) & ((highest != own) | (lowest != own))] = classes - 1 + index
    return target


def widths(plan: Plan) -> tuple[int, ...]:
    """Width of a border along each axis, as even in mm as voxels are."""
    spacing = plan.spacing or (1.0,) * plan.dims
    return tuple(max(1, round(plan.border_width * min(spacing) / mm)) for mm in spacing)


def depths(
    objects: Int32[np.ndarray, "*grid"], spacing: Sequence[float]
) -> UInt8[np.ndarray, "*grid"]:
    """How deep each voxel lies in its object: 0 outside, 255 in its middle."""
    inside = _inner(objects)
    distance = ndimage.distance_transform_edt(inside, sampling=spacing) + min(spacing)
    distance[objects == 0] = 0
    count = int(objects.max())
    if not count:
        return np.zeros(objects.shape, np.uint8)
    largest = np.zeros(count + 1)
    largest[1:] = ndimage.maximum(distance, objects, np.arange(1, count + 1))
    share = distance / np.maximum(largest[objects], 1e-9)
    return np.asarray(np.rint(FULL * share), np.uint8)


def _inner(objects: Int32[np.ndarray, "*grid"]) -> Bool[np.ndarray, "*grid"]:
    """Voxels all of whose neighbours are of the same object; the image's edge is no border."""
    inner: Bool[np.ndarray, "*grid"] = objects > 0
    for axis in range(objects.ndim):
        along, here = np.moveaxis(objects, axis, 0), np.moveaxis(inner, axis, 0)
        differs = along[1:] != along[:-1]
        here[1:] &= ~differs
        here[:-1] &= ~differs
    return inner


def without_border_labels(
    labels: UInt8[np.ndarray, "*grid"], classes: int
) -> UInt8[np.ndarray, "*grid"]:
    """The classes of labels in which borders have labels of their own."""
    table = np.arange(IGNORE + 1, dtype=np.uint8)
    table[classes : 2 * classes - 1] = np.arange(1, classes)
    return np.asarray(table[labels])
