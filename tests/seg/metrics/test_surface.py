import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.spatial.distance import cdist

from seg.metrics import hausdorff95, surface_dice, surface_scores

MASKS = arrays.arrays(bool, st.sampled_from([(6, 7), (4, 5, 3)]))


TILTED = np.array([[2.0, 0.7, 0.1], [0, 1.1, 0], [0.2, 0, 0.8]])
"""Steps along the axes of a sheared grid."""


def outline(mask, grid):
    """Positions in mm of voxels with a neighbour outside, found one by one."""
    grid = np.diag(grid) if isinstance(grid, tuple) else grid
    padded = np.pad(mask, 1)
    steps = [sign * step for step in np.eye(mask.ndim, dtype=int) for sign in (-1, 1)]
    return [
        np.array(voxel) @ grid
        for voxel in np.argwhere(mask)
        if not all(padded[tuple(voxel + 1 + step)] for step in steps)
    ]


def square(start, stop):
    mask = np.zeros((20, 20), bool)
    mask[5:15, start:stop] = True
    return mask


def test_a_shifted_square_is_as_far_away_as_it_was_shifted():
    assert hausdorff95(square(5, 10), square(8, 13), (1.0, 0.5)) == 1.5


def test_the_tolerance_decides_what_agrees():
    shifted = square(5, 10), square(7, 12)
    assert surface_dice(*shifted, (1.0, 1.0), tolerance_mm=2.0) == 1.0
    assert 0 < surface_dice(*shifted, (1.0, 1.0), tolerance_mm=1.0) < 1


@settings(max_examples=60, deadline=None)
@given(st.data(), st.floats(0.2, 3), st.booleans())
def test_distances_are_those_of_all_pairs_of_outline_voxels(data, tolerance, is_sheared):
    prediction = data.draw(MASKS)
    reference = data.draw(arrays.arrays(bool, prediction.shape))
    spacing = TILTED[: prediction.ndim] if is_sheared else (3.0, 0.7, 1.1)[: prediction.ndim]
    if not prediction.any() or not reference.any():
        return
    pairs = cdist(outline(prediction, spacing), outline(reference, spacing))
    assume(np.abs(pairs - tolerance).min() > 1e-5)  # a tie is a matter of rounding
    there, back = pairs.min(axis=1), pairs.min(axis=0)
    assert hausdorff95(prediction, reference, spacing) == pytest.approx(
        max(np.percentile(there, 95), np.percentile(back, 95))
    )
    agreeing = (there <= tolerance).sum() + (back <= tolerance).sum()
    assert surface_dice(prediction, reference, spacing, tolerance) == pytest.approx(
        agreeing / sum(pairs.shape)
    )


def test_empty_masks_have_no_score_and_a_miss_is_the_worst_one():
    nothing, something = square(0, 0), square(3, 6)
    assert math.isnan(hausdorff95(nothing, nothing, (1.0, 1.0)))
    assert math.isnan(surface_dice(nothing, nothing, (1.0, 1.0), 1.0))
    for pair in ((nothing, something), (something, nothing)):
        assert hausdorff95(*pair, (1.0, 1.0)) == math.inf
        assert surface_dice(*pair, (1.0, 1.0), 1.0) == 0.0


def test_both_scores_at_once_are_those_of_each_alone():
    rng = np.random.default_rng(0)
    one, other = rng.random((2, 12, 9, 7)) > 0.7
    spacing = (2.0, 1.0, 0.5)
    assert surface_scores(one, other, spacing, 1.0) == (
        hausdorff95(one, other, spacing),
        surface_dice(one, other, spacing, 1.0),
    )
