"""What happens to labels after the network."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, UInt8
from scipy import ndimage

from seg.images import ClassInfo
from seg.model_package import Postprocessing, Touching


def postprocess(
    labels: UInt8[np.ndarray, "*spatial"], rules: Postprocessing, classes: Sequence[ClassInfo]
) -> UInt8[np.ndarray, "*spatial"]:
    """Remove connected components that the rules do not allow.

    First of all classes together, then class by class; what is removed becomes background.

    Source of keeping the largest: Isensee et al., nnU-Net, Nature Methods 18 (2021).
    """
    if rules.largest_foreground:
        foreground = [info.index for info in classes if info.index > 0]
        labels = largest_component(labels, foreground, rules.touching)
    for info in classes:
        if info.name in rules.largest_component:
            labels = largest_component(labels, [info.index], rules.touching)
        smallest = rules.smallest_component.get(info.name, 1)
        if smallest > 1:
            labels = _without_small(labels, info.index, smallest, rules.touching)
    return labels


def largest_component(
    labels: UInt8[np.ndarray, "*spatial"], indices: Sequence[int], touching: Touching = "sides"
) -> UInt8[np.ndarray, "*spatial"]:
    """The labels without the voxels of these classes that lie outside the largest component."""
    inside = np.isin(labels, indices)
    components, count = ndimage.label(inside, _neighbourhood(labels.ndim, touching))
    if count < 2:
        return labels
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    return np.where(inside & (components != sizes.argmax()), np.uint8(0), labels)


def _without_small(
    labels: UInt8[np.ndarray, "*spatial"], index: int, smallest: int, touching: Touching
) -> UInt8[np.ndarray, "*spatial"]:
    components, _ = ndimage.label(labels == index, _neighbourhood(labels.ndim, touching))
    sizes = np.bincount(components.ravel())
    small = sizes < smallest
    small[0] = False
    return np.where(small[components], np.uint8(0), labels)


def _neighbourhood(dims: int, touching: Touching) -> Bool[np.ndarray, "*threes"]:
    near: np.ndarray = ndimage.generate_binary_structure(dims, 1 if touching == "sides" else dims)
    return near
