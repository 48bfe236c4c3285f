"""Images smaller than a patch are mirrored at their edges until they fill it."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Shaped


def pad_to(
    array: Shaped[np.ndarray, "c *spatial"], shape: Sequence[int]
) -> Shaped[np.ndarray, "c *larger"]:
    """At least ``shape`` along the spatial axes; what is added lies at the end of each axis.

    Undo: cut back to the first ``array.shape[1:]`` voxels.
    """
    missing = [max(0, want - have) for want, have in zip(shape, array.shape[1:], strict=True)]
    if not any(missing):
        return array
    return np.pad(array, [(0, 0), *((0, m) for m in missing)], mode="symmetric")
