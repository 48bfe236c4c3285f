"""TIFF files whose orientation tag says that they are to be turned; Pillow is the judge."""

import io

import numpy as np
import PIL.Image
import pytest
import tifffile

from seg.errors import UnsupportedImageError
from seg.images import (
    ClassInfo,
    Frame,
    Limits,
    Mask,
    encode_mask,
    open_image,
    read_frame,
    read_image,
    read_mask,
)
from seg.images.tiff.reduced import read_reduced

COLOR = np.random.default_rng(0).integers(0, 255, (70, 90, 3)).astype(np.uint8)
GREY = np.random.default_rng(1).integers(0, 60000, (70, 90)).astype(np.uint16)
CLASSES = [
    ClassInfo(index=n, name=name, color=(n, n, n))
    for n, name in enumerate(("background", "a", "b"))
]
KINDS = {
    "as they are": {},
    "strips": {"compression": "zlib", "rowsperstrip": 16},
    "tiles": {"compression": "zlib", "tile": (16, 32)},
    "other byte order": {"byteorder": ">"},
    "BigTIFF": {"bigtiff": True},
}


def tag(orientation):
    return [(274, 3, 1, orientation, False)]


def saved(pixels, orientation, **options):
    buffer = io.BytesIO()
    role = {"photometric": "rgb" if pixels.shape[-1] == 3 else "minisblack", "metadata": None}
    tifffile.imwrite(buffer, pixels, extratags=tag(orientation), **role | options)
    return buffer.getvalue()


def as_pillow_has_it(content):
    pixels = np.asarray(PIL.Image.open(io.BytesIO(content)))
    return pixels[np.newaxis] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0)


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_is_turned_upright_whole_and_in_parts(tmp_path, kind, orientation):
    for pixels in (COLOR, GREY):
        content = saved(pixels, orientation, **KINDS[kind])
        expected = as_pillow_has_it(content)
        image = read_image(content, dims=2)
        np.testing.assert_array_equal(image.array, expected)
        assert bool(image.notes) == (2 <= orientation <= 8)
        (tmp_path / "a.tif").write_bytes(content)
        with open_image(tmp_path / "a.tif", dims=2) as source:
            assert source.spatial_shape == image.spatial_shape
            part = source.read((slice(7, 50), slice(3, 66)))
            np.testing.assert_array_equal(part, expected[:, 7:50, 3:66])
            assert source.notes == image.notes


@pytest.mark.parametrize("orientation", [3, 6])
def test_what_is_shown_of_a_file_is_a_part_of_it_upright(orientation):
    content = saved(COLOR, orientation, tile=(16, 32))
    expected = as_pillow_has_it(content)
    found, size = read_reduced(content, limits=Limits(), box=(4, 6, 40, 60), longest=30)
    assert size == expected.shape[1:]
    np.testing.assert_array_equal(found, expected[:, 6:66:2, 4:44:2])


def test_pixels_keep_their_sizes_when_axes_are_exchanged():
    scale = {"resolution": (100, 200), "resolutionunit": "CENTIMETER"}
    assert read_image(saved(GREY, 3, **scale)).spacing == pytest.approx((0.05, 0.1))
    assert read_image(saved(GREY, 6, **scale)).spacing == pytest.approx((0.1, 0.05))


def test_a_mask_is_turned_as_its_image_and_is_written_as_it_is_seen():
    labels = (GREY % 3).astype(np.uint8)
    image, mask = read_image(saved(GREY, 6)), read_mask(saved(labels, 6))
    np.testing.assert_array_equal(mask.array, image.array[0] % 3)
    content = encode_mask(Mask.on_grid_of(image, mask.array), "tiff", CLASSES)
    np.testing.assert_array_equal(as_pillow_has_it(content)[0], mask.array)


def test_each_slice_of_a_stack_is_turned(tmp_path):
    stack = np.stack([GREY, GREY[::-1]])
    content = saved(stack, 6)
    expected = np.rot90(stack, -1, (1, 2))
    np.testing.assert_array_equal(read_image(content, dims=3).array[0], expected)
    np.testing.assert_array_equal(read_frame(content, Frame("z", 1), dims=2).array[0], expected[1])
    (tmp_path / "a.tif").write_bytes(content)
    with open_image(tmp_path / "a.tif", dims=3) as source:
        part = source.read((slice(1, 2), slice(0, 30), slice(10, 20)))
    np.testing.assert_array_equal(part[0], expected[1:, :30, 10:20])


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_pages_that_are_turned_differently_are_refused(tmp_path, byteorder):
    with tifffile.TiffWriter(tmp_path / "a.tif", byteorder=byteorder) as writer:
        for orientation in (1, 1, 3):
            writer.write(GREY, extratags=tag(orientation), metadata=None)
    with pytest.raises(UnsupportedImageError, match="turned differently"):
        read_image(tmp_path / "a.tif", dims=3)
    with (
        pytest.raises(UnsupportedImageError, match="turned differently"),
        open_image(tmp_path / "a.tif", dims=3),
    ):
        pass
