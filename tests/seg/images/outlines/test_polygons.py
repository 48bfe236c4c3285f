import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from skimage.draw import polygon2mask
from skimage.measure import label

from seg.images.outlines.polygons import keyholed, outlines

regions = st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(1, 3)).flatmap(
    lambda n: arrays.arrays(np.uint8, n[:2], elements=st.integers(0, n[2]))
)

RING_IN_RING = np.pad(np.pad(np.zeros((1, 1), np.uint8), 1, constant_values=1), 1)
RING_IN_RING = np.pad(RING_IN_RING, 1, constant_values=1)
CHESS = np.indices((5, 6)).sum(axis=0) % 2


def filled(polygon, shape):
    """Pixels whose centre lies inside, by GEOS."""
    rows, columns = np.indices(shape) + 0.5
    return shapely.contains_xy(polygon, columns, rows)


def filled_ring(ring, shape):
    """Pixels whose centre lies inside, by scikit-image's even-odd rule."""
    return polygon2mask(shape, ring[:, ::-1] - 0.5)


@settings(max_examples=150, deadline=None)
@given(regions)
def test_filled_outlines_are_the_region_each_pixel_once(region):
    counts = np.zeros(region.shape, int)
    for index, polygon in outlines(region):
        counts += index * filled(polygon, region.shape)
    np.testing.assert_array_equal(counts, region)


@settings(max_examples=150, deadline=None)
@given(regions)
def test_there_is_a_valid_polygon_for_each_part_joined_by_edges(region):
    found = outlines(region)
    assert all(polygon.is_valid for _, polygon in found)
    assert [index for index, _ in found] == sorted(index for index, _ in found)
    assert len(found) == label(region, connectivity=1).max()


@settings(max_examples=150, deadline=None)
@given(regions)
def test_a_keyholed_ring_fills_what_the_polygon_with_holes_fills(region):
    for _, polygon in outlines(region):
        ring = keyholed(polygon)
        np.testing.assert_array_equal(
            filled_ring(ring, region.shape), filled(polygon, region.shape)
        )
        assert abs(shapely.Polygon(ring).area) == polygon.area


@pytest.mark.parametrize(
    ("region", "polygons", "holes"),
    [
        pytest.param(np.zeros((3, 3), int), 0, [], id="nothing"),
        pytest.param(np.ones((3, 3), int), 1, [0], id="everything"),
        pytest.param(RING_IN_RING, 2, [1, 1], id="a ring within a ring"),
        pytest.param(CHESS, 15, [0] * 15, id="corners that touch"),
        pytest.param(1 - np.eye(4, dtype=int)[1:, 1:], 2, [0, 0], id="a cut along the diagonal"),
    ],
)
def test_outlines_by_hand(region, polygons, holes):
    found = outlines(region)
    assert len(found) == polygons
    assert [len(polygon.interiors) for _, polygon in found] == holes


def test_outlines_have_corners_only_and_known_orientation():
    region = np.ones((5, 7), int)
    region[2, 2:4] = 0
    ((_, polygon),) = outlines(region)
    assert len(polygon.exterior.coords) == 5
    assert polygon.exterior.is_ccw
    assert len(polygon.interiors[0].coords) == 5
    assert not polygon.interiors[0].is_ccw
    assert polygon.bounds == (0, 0, 7, 5)


def test_no_channel_leads_across_another_hole():
    region = np.ones((5, 9), np.uint8)
    region[1:4, 1:8:2] = 0
    region[1, 3:8:2] = 1  # a channel along an upper end would lead through the first hole
    ((_, polygon),) = outlines(region)
    assert len(polygon.interiors) == 4
    assert polygon.covers(shapely.LinearRing(keyholed(polygon)))
