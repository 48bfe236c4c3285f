import csv

import numpy as np
import pytest

from seg.errors import ImageError
from seg.images import Image, Mask, encode_mask


def rows(mask, classes, image=None):
    return list(csv.DictReader(encode_mask(mask, "csv", classes, image).decode().splitlines()))


LABELS = np.zeros((3, 5, 6), np.uint8)
LABELS[1, 1:3, 2:5] = 1
LABELS[2, 4, 5] = 1


def test_a_volume_is_measured_by_hand(classes):
    intensities = np.zeros((2, *LABELS.shape), np.int16)
    intensities[0][LABELS == 1] = [10, 10, 10, 40, 40, 40, -150]
    intensities[1][:] = 7
    nucleus, cytoplasm = rows(Mask(LABELS, spacing=(5.0, 2.0, 0.5)), classes, Image(intensities))
    assert nucleus == {
        "index": "1",
        "name": "nucleus",
        "voxels": "7",
        "volume_ml": "0.035",
        "components": "2",
        "mean_0": "0.0",
        "mean_1": "7.0",
        "z_first": "1",
        "y_first": "1",
        "x_first": "2",
        "z_last": "2",
        "y_last": "4",
        "x_last": "5",
    }
    assert cytoplasm["voxels"] == cytoplasm["components"] == "0"
    assert cytoplasm["volume_ml"] == "0.0"
    assert cytoplasm["mean_0"] == cytoplasm["x_last"] == ""


def test_an_image_has_pixels_and_an_area_only_where_its_spacing_is_known(classes):
    flat = LABELS[1]
    known, unknown = (rows(Mask(flat, spacing=mm), classes)[0] for mm in ((0.5, 0.5), None))
    assert (known["pixels"], known["area_mm2"]) == ("6", "1.5")
    assert (unknown["pixels"], unknown["area_mm2"]) == ("6", "")
    assert known.keys() == unknown.keys()
    assert "z_first" not in known


def test_parts_that_touch_at_a_corner_are_two(classes):
    assert rows(Mask(np.eye(3, dtype=np.uint8)), classes)[0]["components"] == "3"


def test_a_class_inside_the_box_of_another_is_not_counted_with_it(classes):
    labels = np.array([[1, 1, 1], [1, 2, 1], [1, 1, 1]], np.uint8)
    image = Image(labels[None].astype(np.float32))
    nucleus, cytoplasm = rows(Mask(labels), classes, image)
    assert (nucleus["pixels"], nucleus["mean_0"]) == ("8", "1.0")
    assert (cytoplasm["pixels"], cytoplasm["mean_0"]) == ("1", "2.0")


def test_a_name_with_commas_and_quotes_stays_one_cell(classes):
    odd = classes[1].model_copy(update={"name": 'left, "upper" lobe'})
    assert rows(Mask(LABELS), [classes[0], odd])[0]["name"] == 'left, "upper" lobe'


def test_an_image_on_another_grid_is_refused(classes):
    with pytest.raises(ImageError, match="cannot be measured on an image of"):
        rows(Mask(LABELS), classes, Image(np.zeros((1, 2, 2, 2), np.uint8)))
