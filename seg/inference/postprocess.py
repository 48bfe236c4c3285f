"""What happens to labels after the network."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from scipy import ndimage

from seg.images import ClassInfo
from seg.model_package import Postprocessing


def postprocess(
    labels: UInt8[np.ndarray, "*spatial"], rules: Postprocessing, classes: Sequence[ClassInfo]
) -> UInt8[np.ndarray, "*spatial"]:
    """Remove connected components that are smaller than a class allows."""
    for info in classes:
        smallest = rules.smallest_component.get(info.name, 1)
        if smallest > 1:
            labels = _without_small(labels, info.index, smallest)
    return labels


def _without_small(
    labels: UInt8[np.ndarray, "*spatial"], index: int, smallest: int
) -> UInt8[np.ndarray, "*spatial"]:
    components, _ = ndimage.label(labels == index)
    sizes = np.bincount(components.ravel())
    small = sizes < smallest
    small[0] = False
    return np.where(small[components], np.uint8(0), labels)
