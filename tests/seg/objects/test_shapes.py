"""Shapes of all objects at once are those that scikit-image has for each by itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from shapely.geometry import Polygon
from skimage.measure import regionprops_table

from seg.images import ClassInfo
from seg.images.outlines.polygons import outlines
from seg.objects import Objects
from seg.objects.measurements import SHAPES, SHAPES_OF_VOLUMES
from seg.objects.outlines import rings_within
from seg.objects.shapes import shapes_of


def numbered(labels):
    """Numbers without gaps, 0 stays 0."""
    there, compact = np.unique(np.append(0, labels), return_inverse=True)
    assert there[0] == 0
    return compact[1:].reshape(labels.shape).astype(np.uint32)


def blobs(seed, shape, width):
    """Objects with bays and holes, in pieces where width is 0."""
    rng = np.random.default_rng(seed)
    if not width:
        return numbered(rng.integers(0, 6, shape))
    noise = ndimage.gaussian_filter(rng.normal(size=shape), width)
    return numbered(ndimage.label(noise > 0)[0])


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    width=st.sampled_from([0, 0.7, 2.0]),
    spacing=st.sampled_from([(1.0, 1.0), (0.5, 0.5), (0.3, 0.7)]),
)
def test_flat_objects_are_measured_as_scikit_image_measures_them(seed, width, spacing):
    labels = blobs(seed, (31, 44), width)
    wanted = [name for name in SHAPES if name != "perimeter" or spacing[0] == spacing[1]]
    equals_scikit_image(labels, spacing, wanted)


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10**6), width=st.sampled_from([0, 1.0]))
def test_volumes_are_measured_as_scikit_image_measures_them(seed, width):
    equals_scikit_image(blobs(seed, (7, 12, 13), width), (2.0, 0.5, 0.7), SHAPES_OF_VOLUMES)


def equals_scikit_image(labels, spacing, wanted):
    names = ("area", "num_pixels", "centroid", "bbox", *wanted)
    if not labels.any():
        return
    expected = regionprops_table(labels.astype(np.int32), properties=names, spacing=spacing)
    found = shapes_of(labels, spacing, wanted)
    assert set(found) == set(expected)
    for name, values in expected.items():
        if name.startswith("centroid"):
            values = values / spacing[int(name[-1])]
        away = np.abs(found[name] - values)
        if name == "orientation":  # a line has no direction
            away = np.minimum(away, np.pi - away)
        np.testing.assert_array_less(away, 1e-6 * (1 + np.abs(values)), err_msg=name)


@pytest.mark.parametrize("most", [2**22, 64])
def test_outlines_of_many_at_once_are_those_of_each_by_itself(most, monkeypatch):
    monkeypatch.setattr("seg.objects.outlines.AT_ONCE", most)
    labels = blobs(3, (40, 50), 0)
    lower = blobs(4, (20, 50), 1.0)
    labels[20:] = np.where(lower > 0, lower + labels.max(), 0)
    labels = numbered(labels)
    count = int(labels.max())
    objects = Objects(
        labels=labels,
        classes=np.ones(count, np.uint8),
        probabilities=np.ones(count, np.float32),
        kinds=(ClassInfo(index=1, name="cell", color=(1, 2, 3)),),
    )
    numbers = list(range(2, count + 1, 2))  # others lie between them
    found = rings_within(objects, numbers, [objects.boxes()[number - 1] for number in numbers])
    for number, polygons in zip(numbers, found, strict=True):
        expected = [polygon for _, polygon in outlines((labels == number).astype(np.uint8))]
        own = [Polygon(outer, holes) for outer, *holes in polygons]
        assert all(polygon.is_valid for polygon in own)
        assert [p.exterior.is_ccw for p in own] == [True] * len(expected)
        assert not any(hole.is_ccw for polygon in own for hole in polygon.interiors)
        assert {p.normalize().wkt for p in own} == {p.normalize().wkt for p in expected}
