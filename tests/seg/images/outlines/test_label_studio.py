"""Brush strokes of Label Studio, in and out; its own converter is the judge elsewhere."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from seg.errors import ImageError
from seg.images.outlines.label_studio import decode_brush, drawing_of, encode_brush

SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 40))


@given(arrays.arrays(bool, SHAPES))
def test_a_stroke_gives_its_mask_back(mask):
    stroke = encode_brush(mask)
    assert all(0 <= each < 256 for each in stroke)
    pixels = decode_brush(stroke, 4 * mask.size).reshape(*mask.shape, 4)
    np.testing.assert_array_equal(pixels > 0, np.repeat(mask[..., np.newaxis], 4, -1))


@pytest.mark.parametrize("pixels", [2, 3, 4, 16_384, 16_385, 40_000])
def test_runs_of_every_length_come_back(pixels):
    mask = np.zeros((1, pixels + 1), bool)
    mask[0, :pixels] = True
    painted = decode_brush(encode_brush(mask))
    assert painted[: 4 * pixels].min() == 255
    assert painted[4 * pixels :].max() == 0


def region(**change):
    value = {"format": "rle", "rle": encode_brush(np.ones((2, 3), bool)), "brushlabels": ["cell"]}
    return {
        "type": "brushlabels",
        "original_width": 3,
        "original_height": 2,
        "value": value,
        **change,
    }


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"original_width": 40_000, "original_height": 20_000}, "it has 3 x 2"),
        ({"image_rotation": 90}, "turned"),
        ({"value": {"brushlabels": ["cell"], "rle": [1, 2]}}, "cut off"),
        ({"value": {"brushlabels": ["cell"], "rle": [300]}}, "not as Label Studio"),
        ({"value": {"brushlabels": ["cell"], "rle": [255] * 60}}, "holds 1073741823 pixels"),
        ({"value": {"brushlabels": ["cell"]}}, "not as Label Studio"),
        ({"original_width": None}, "not as Label Studio"),
    ],
    ids=["size", "turned", "cut", "bytes", "bomb", "empty", "none"],
)
def test_what_is_no_annotation_of_this_image_is_refused(change, says):
    with pytest.raises(ImageError, match=says):
        drawing_of([region(**change)], Counter(), (2, 3))


def test_a_polygon_may_leave_the_image_and_holds_no_nan():
    points = [[-50, -50], [50, -50], [50, 150], [-50, 150]]
    polygon = region(type="polygonlabels", value={"points": points, "polygonlabels": ["cell"]})
    (shape,) = drawing_of([polygon], Counter(), (2, 3)).shapes
    assert shape.polygons[0][0].min() == -1.5
    polygon["value"]["points"][0][0] = float("nan")
    with pytest.raises(ImageError, match="pairs of numbers"):
        drawing_of([polygon], Counter(), (2, 3))
