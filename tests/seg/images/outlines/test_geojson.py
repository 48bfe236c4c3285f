import json
from uuid import UUID

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from seg.images import ClassInfo, Mask, encode_mask

CLASSES = [ClassInfo(index=i, name=f"class {i}", color=(i, 0, 9)) for i in range(4)]
shapes = st.lists(st.integers(1, 9), min_size=2, max_size=3).map(tuple)
masks = shapes.flatmap(lambda shape: arrays.arrays(np.uint8, shape, elements=st.integers(0, 3)))
millimetres = st.floats(1e-3, 50)


def features(mask, classes=CLASSES, format="geojson"):
    return json.loads(encode_mask(mask, format, classes))["features"]


def rasterised(found, shape, spacing):
    """The mask, by pixel centres, from nothing but the file."""
    labels = np.zeros(shape, int)
    rows, columns = np.indices(shape[-2:]) + 0.5
    for feature in found:
        polygon = shapely.from_geojson(json.dumps(feature["geometry"]))
        inside = shapely.contains_xy(polygon, columns * spacing[-1], rows * spacing[-2])
        properties = feature["properties"]
        plane = labels[properties["slice"]] if len(shape) == 3 else labels
        plane[inside] += properties["index"]
    return labels


@settings(max_examples=60, deadline=None)
@given(masks, st.booleans(), st.tuples(millimetres, millimetres, millimetres))
def test_filling_the_polygons_gives_the_very_same_mask(labels, known, spacing):
    spacing = spacing[-labels.ndim :] if known else None
    mask = Mask(labels, spacing=spacing)
    found = features(mask)
    assert {feature["properties"]["unit"] for feature in found} <= {"pixel"}
    np.testing.assert_array_equal(rasterised(found, labels.shape, (1.0, 1.0)), labels)
    found = features(mask, format="geojson-mm")
    assert {feature["properties"]["unit"] for feature in found} <= {"mm" if known else "pixel"}
    read = rasterised(found, labels.shape, spacing or (1.0, 1.0))
    np.testing.assert_array_equal(read, labels)


def test_a_feature_tells_its_class_and_the_image_corner_is_the_origin(classes):
    labels = np.zeros((4, 5), np.uint8)
    labels[1:3, 2:5] = 2
    (feature,) = features(Mask(labels), classes)
    assert feature["properties"] == {
        "objectType": "annotation",
        "classification": {"name": "cytoplasm", "color": [0, 128, 255]},
        "measurements": {"Area px^2": 6},
        "index": 2,
        "unit": "pixel",
    }
    assert str(UUID(feature["id"])) == feature["id"]
    (ring,) = feature["geometry"]["coordinates"]
    assert sorted(map(tuple, ring[:-1])) == [(2, 1), (2, 3), (5, 1), (5, 3)]
    assert ring[0] == ring[-1]
    assert shapely.LinearRing(ring).is_ccw


def test_coordinates_are_millimetres_where_these_are_asked_for(classes):
    mask = Mask(np.ones((2, 3), np.uint8), spacing=(0.7, 0.1))
    (feature,) = features(mask, classes, "geojson-mm")
    corners = {tuple(point) for point in feature["geometry"]["coordinates"][0]}
    assert corners == {(0, 0), (0.3, 0), (0.3, 1.4), (0, 1.4)}
    measured = feature["properties"]["measurements"]
    assert measured["Area \N{MICRO SIGN}m^2"] == pytest.approx(0.42e6)


def test_features_of_a_volume_name_their_plane_and_all_have_ids_of_their_own(classes):
    found = features(Mask(np.ones((3, 4, 5), np.uint8)), classes)
    assert [each["geometry"]["plane"]["z"] for each in found] == [0, 1, 2]
    assert len({each["id"] for each in found}) == 3


@pytest.mark.parametrize("shape", [(3, 3), (2, 3, 3)])
def test_a_mask_of_background_has_no_feature(shape, classes):
    assert features(Mask(np.zeros(shape, np.uint8)), classes) == []
