"""What lies around an image when it is cut into patches. Letters: ``c`` channels."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Shaped

from seg.transforms.spec import Convention

Widths = tuple[tuple[int, int], ...]


def border(
    shape: Sequence[int],
    margin: Sequence[int],
    patch: Sequence[int],
    convention: Convention = "seg",
) -> tuple[Widths, Literal["constant", "symmetric"]]:
    """How wide ``surround``'s border is before and after each axis, and what ``np.pad`` puts there.

    Args:
        shape: size of the image in voxels.
        margin: voxels on each side, one number an axis.
        patch: smallest size in voxels of the result.
        convention: ``nnunet`` puts a small image in the middle of zeros.
    """
    missing = [
        max(0, want - have - 2 * m) for want, have, m in zip(patch, shape, margin, strict=True)
    ]
    if convention == "nnunet":
        return tuple((rest // 2, rest - rest // 2) for rest in missing), "constant"
    widths = tuple((m, m + rest) for m, rest in zip(margin, missing, strict=True))
    return widths, "constant" if any(margin) else "symmetric"


def surround(
    array: Shaped[np.ndarray, "c *spatial"], margin: Sequence[int], patch: Sequence[int]
) -> Shaped[np.ndarray, "c *larger"]:
    """The image with a margin on every side, and at least as large as a patch.

    A margin is filled with 0, the mean of normalised images and the background of labels, so that
    the network sees where the image ends. Without one, an image smaller than a patch is mirrored at
    its end.

    Undo: cut out ``array.shape[1:]`` voxels from ``margin`` on.

    Args:
        array: normalised intensities, or labels.
        margin: voxels on each side, one number an axis.
        patch: smallest size in voxels of the result.
    """
    widths, mode = border(array.shape[1:], margin, patch)
    if not any(after for _, after in widths):
        return array
    return np.pad(array, ((0, 0), *widths), mode=mode)
