import io

import numpy as np
import PIL.Image
import pytest

from seg.errors import ImageError
from seg.images import Image, Mask, encode_mask
from seg.images.pictures.overlay import as_rgb, contours, fullest_slice

LABELS = np.zeros((9, 9), np.uint8)
LABELS[2:7, 2:7] = 1


def drawn(labels, channels, classes):
    content = encode_mask(Mask(labels), "overlay", classes, Image(channels))
    return np.asarray(PIL.Image.open(io.BytesIO(content)))


def test_an_rgb_image_keeps_its_background_and_regions_get_a_contour(classes):
    channels = np.random.default_rng(0).integers(0, 256, (3, 9, 9)).astype(np.uint8)
    picture = drawn(LABELS, channels, classes)
    outside = LABELS == 0
    np.testing.assert_array_equal(picture[outside], np.moveaxis(channels, 0, -1)[outside])
    assert picture[2, 4].tolist() == [255, 0, 0]
    inner = 0.75 * channels[:, 4, 4] + 0.25 * np.array([255, 0, 0])
    np.testing.assert_allclose(picture[4, 4], inner, atol=1)


def test_a_contour_is_the_foreground_that_touches_another_class():
    square = contours(LABELS, 1)
    assert square.sum() == 16
    assert not square[3:6, 3:6].any()
    assert contours(LABELS, 2).sum() == 24


def test_two_touching_classes_are_told_apart():
    labels = np.ones((4, 6), np.uint8)
    labels[:, 3:] = 2
    assert np.argwhere(contours(labels, 1))[:, 1].tolist() == [2, 3] * 4


def test_a_region_at_the_border_of_the_image_has_no_contour_there():
    assert not contours(np.ones((4, 4), np.uint8), 1).any()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_intensities_are_stretched_from_black_to_white(channels, dtype):
    ramp = np.tile(np.arange(100, dtype=dtype), (channels, 100, 1)) + np.array(7, dtype)
    grey = as_rgb(ramp)[0, :, 0].astype(int)
    assert (grey[0], grey[-1]) == (0, 255)
    assert (np.diff(grey) >= 0).all()


def test_one_hot_pixel_does_not_darken_the_rest():
    channel = np.tile(np.arange(100, dtype=np.float32), (1, 100, 1))
    channel[0, 5, 5] = 1e9
    assert as_rgb(channel)[0, -1, 0] == 255


@pytest.mark.parametrize("value", [0.0, 7.0, np.nan, np.inf])
def test_a_constant_or_missing_image_is_drawn_as_well(value, classes):
    assert drawn(LABELS, np.full((1, 9, 9), value, np.float32), classes).shape == (9, 9, 3)


def test_the_fullest_slice_of_a_volume_is_found():
    labels = np.stack([LABELS * 0, LABELS, LABELS * 2, LABELS * 0])
    labels[2, 0, 0] = 2
    assert fullest_slice(labels) == 2


def test_of_an_empty_volume_the_middle_is_drawn():
    assert fullest_slice(np.zeros((5, 2, 2), np.uint8)) == 2


def test_an_overlay_needs_the_image_it_is_drawn_on(classes):
    with pytest.raises(ImageError, match="an overlay is drawn on the image that was segmented"):
        encode_mask(Mask(LABELS), "overlay", classes)
    with pytest.raises(ImageError, match="cannot be drawn on an image of"):
        drawn(LABELS, np.zeros((1, 3, 3), np.uint8), classes)
