"""Masks compared where they lie in the patient."""

import numpy as np


def in_the_world(mask):
    """Class by place in mm, wherever the voxels are stored; a SEG leaves empty slices out."""
    there = np.argwhere(mask.array)
    places = there[:, ::-1] @ mask.affine[:3, :3].T + mask.affine[:3, 3]
    labels = mask.array[tuple(there.T)]
    return dict(zip(map(tuple, places.round(2).tolist()), labels.tolist(), strict=True))
