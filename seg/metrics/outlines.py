"""Outlines that two masks share voxel for voxel."""

import numpy as np
from jaxtyping import Bool
from scipy import ndimage

SMALLEST = 30
"""Voxels of a piece from which on two that drew it do not agree on each by chance."""


def same_outlines(
    prediction: Bool[np.ndarray, "*spatial"], reference: Bool[np.ndarray, "*spatial"]
) -> tuple[int, int]:
    """How many pieces the reference has, and how many of them the prediction shows voxel for voxel.

    A piece is connected, in a volume within a slice of its first axis. Of some 800 nuclei that
    people outlined and networks found, with Dice of 0.9 to 0.97, none was the same: where many
    are, the reference was not drawn without the prediction.

    Returns:
        Pieces of 30 voxels or more, and how many of them are the same.
    """
    boxes = ndimage.find_objects(reference.astype(np.uint8))
    if not boxes:
        return 0, 0
    around = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in boxes[0])
    true = reference[around]
    within_slices = ndimage.generate_binary_structure(true.ndim, 1)
    if true.ndim > 2:
        within_slices[[0, -1]] = False
    pieces, count = ndimage.label(true, within_slices)
    differs = ndimage.binary_dilation(true != prediction[around], within_slices)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    apart = np.bincount(pieces[differs], minlength=count + 1)
    counts = sizes >= SMALLEST
    counts[0] = False
    return int(counts.sum()), int((counts & (apart == 0)).sum())
