import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from seg.images import Mask, encode_mask
from seg.images.measures.summary import count_labels


def summary(mask, classes):
    return json.loads(encode_mask(mask, "json", classes))


def test_a_flat_mask_is_told_in_pixels_and_square_millimetres(classes):
    labels = np.array([[0, 1, 1, 1], [0, 0, 0, 2]])
    told = summary(Mask(labels, spacing=(0.5, 2.0)), classes)
    assert (told["axes"], told["size"], told["spacing_mm"]) == ("yx", [2, 4], [0.5, 2.0])
    assert told["classes"][1] == {
        "index": 1,
        "name": "nucleus",
        "color": [255, 0, 0],
        "pixels": 3,
        "share": 0.375,
        "area_mm2": 3.0,
    }


def test_a_volume_is_told_in_voxels_and_millilitres(classes):
    told = summary(Mask(np.full((10, 10, 10), 2), spacing=(2.0, 1.0, 1.0)), classes)
    assert told["classes"][2]["voxels"] == 1000
    assert told["classes"][2]["volume_mm3"] == 2000.0
    assert told["classes"][2]["volume_ml"] == 2.0


def test_without_a_spacing_no_extent_is_told(classes):
    told = summary(Mask(np.zeros((2, 2), np.uint8)), classes)
    assert told["spacing_mm"] is None
    assert [entry["pixels"] for entry in told["classes"]] == [4, 0, 0]
    assert not any("mm" in key for entry in told["classes"] for key in entry)


@settings(deadline=None)
@given(arrays.arrays(np.uint8, arrays.array_shapes(max_dims=3), elements=st.integers(0, 4)))
def test_counts_are_those_of_a_comparison_class_by_class(labels):
    expected = [(labels == index).sum() for index in range(5)]
    assert count_labels(labels, 5).tolist() == expected


def test_counting_in_blocks_loses_nothing(monkeypatch):
    monkeypatch.setattr("seg.images.measures.summary.BLOCK", 7)
    labels = np.arange(100, dtype=np.uint8).reshape(10, 10) % 3
    assert count_labels(labels, 3).tolist() == [34, 33, 33]
