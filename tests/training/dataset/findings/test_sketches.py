"""Parts that two images share."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import default_rng
from scipy import ndimage

from training.dataset.findings import sketches
from training.dataset.findings.sketches import MOST_POINTS, shared_parts, sketch_of


def cells(seed, shape=(1, 160, 200)):
    """What noise of some extent looks like."""
    noise = default_rng(seed).normal(0, 300, shape)
    return (ndimage.gaussian_filter(noise, (*[0] * (len(shape) - 2), 1, 1)) + 900).astype(np.uint16)


IMAGE = cells(0)
CHANGES = {
    "shifted": lambda x: x[..., 7:, 5:],
    "a quarter": lambda x: x[..., 40:120, 50:150],
    "in a frame": lambda x: np.pad(x, [(0, 0)] * (x.ndim - 2) + [(30, 3), (4, 50)]),
    "cut and brighter": lambda x: 0.37 * x[..., 9:, :-40].astype(np.float32) + 3,
    "cut and without an offset": lambda x: (x[..., :-20, 30:].astype(np.int32) - 1000) * 2,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("shape", [(1, 160, 200), (2, 8, 160, 200)], ids=["2D", "3D"])
def test_a_part_is_known_wherever_it_lies_and_however_bright_it_is(change, shape):
    image = cells(3, shape)
    (found,) = shared_parts(
        [sketch_of(image), sketch_of(cells(4, shape)), sketch_of(change(image))]
    )
    assert (found.first, found.second) == (0, 2)
    assert found.share > 0.9


def test_slices_of_a_volume_are_known_in_a_shorter_one():
    volume = cells(3, (1, 9, 120, 120))
    (found,) = shared_parts([sketch_of(volume), sketch_of(volume[:, 4:8])])
    assert found.share > 0.9


def test_tiles_that_overlap_by_a_third_share_a_third():
    tiles = [sketch_of(part) for part in (IMAGE[:, :, :120], IMAGE[:, :, 80:])]
    (found,) = shared_parts(tiles)
    assert found.share == pytest.approx(1 / 3, abs=0.1)


@settings(max_examples=15)
@given(st.integers(1, 1000))
def test_two_images_of_one_kind_share_nothing(seed):
    assert not list(shared_parts([sketch_of(IMAGE), sketch_of(cells(seed))]))


FLAT = {
    "flat": np.zeros((1, 50, 50)),
    "a ramp": np.tile(np.arange(50.0), (1, 50, 1)),
    "tiny": np.ones((1, 6, 7)),
    "a line": np.eye(40)[None],
}


@pytest.mark.parametrize("image", FLAT.values(), ids=FLAT)
def test_an_image_of_which_nothing_stands_out_shares_nothing(image):
    assert not list(shared_parts([sketch_of(image), sketch_of(image)]))


def test_a_pattern_that_repeats_is_no_place():
    grid = np.tile(cells(5, (1, 20, 20)), (1, 8, 10))
    others = [np.roll(grid, by, axis=2) for by in range(100)]
    assert not list(shared_parts([sketch_of(each) for each in others]))


def test_bands_of_a_large_image_know_what_the_whole_knows(monkeypatch):
    whole = sketch_of(IMAGE)
    monkeypatch.setattr(sketches, "BAND", 37 * IMAGE.shape[-1])
    banded = sketch_of(IMAGE)
    np.testing.assert_array_equal(banded.hashes, whole.hashes)
    np.testing.assert_array_equal(banded.places, whole.places)


def test_a_large_image_keeps_few_points_and_knows_a_small_part():
    image = cells(6, (1, 900, 900))
    sketch = sketch_of(image)
    assert len(sketch.hashes) == MOST_POINTS
    assert len(list(shared_parts([sketch, sketch_of(image[:, 300:600, 300:600])]))) == 1


def test_no_images_share_nothing():
    assert not list(shared_parts([]))
