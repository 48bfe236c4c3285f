"""Outlines that two masks share."""

import numpy as np
import pytest
from scipy import ndimage

from seg.metrics import same_outlines


def disks(*places, shape=(64, 64), radius=6):
    away = [np.hypot(*(np.indices(shape) - np.reshape(place, (2, 1, 1)))) for place in places]
    return np.min(away, axis=0) < radius


TWO = disks((16, 16), (40, 40))


def test_outlines_that_somebody_took_over_are_known_from_those_that_were_drawn_anew():
    assert same_outlines(TWO, TWO) == (2, 2)
    assert same_outlines(TWO, TWO | disks((16, 48))) == (3, 2)
    redrawn = TWO.copy()
    redrawn[40, 34] ^= True
    assert same_outlines(TWO, redrawn) == (2, 1)
    assert same_outlines(redrawn, TWO) == (2, 1)


def test_what_lies_elsewhere_or_is_small_says_nothing():
    assert same_outlines(TWO | disks((16, 48)), TWO) == (2, 2)
    nothing = np.zeros_like(TWO)
    assert same_outlines(TWO, nothing) == (0, 0)
    assert same_outlines(nothing, TWO) == (2, 0)
    small = disks((16, 16), radius=3)
    assert same_outlines(small, small) == (0, 0)


def test_a_hole_that_was_filled_is_another_outline():
    ring = TWO & ~disks((16, 16), radius=2)
    assert same_outlines(ring, TWO) == (2, 1)
    assert same_outlines(TWO, ring) == (2, 1)


@pytest.mark.parametrize("seen", [0.0, 0.5, 1.0])
def test_of_a_volume_the_slices_that_nobody_corrected_are_the_model_s_own(seen):
    ball = np.stack([disks((32, 32), radius=r) for r in (8, 9, 10, 9, 8)])
    corrected = ball.copy()
    for z in range(round(seen * len(ball))):
        corrected[z] = ndimage.binary_dilation(corrected[z])
    assert same_outlines(ball, corrected) == (5, 5 - round(seen * len(ball)))
