"""Parts of flat TIFF files, coarser, for whoever looks at them."""

import io

import numpy as np
import pytest
import tifffile

from seg.errors import ImageError
from seg.images import Limits
from seg.images.tiff.reduced import read_reduced

PIXELS = np.random.default_rng(0).integers(0, 255, (300, 420, 3), dtype=np.uint8)


def tiff(**options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, PIXELS, photometric="rgb", **options)
    return file.getvalue()


def pyramid() -> bytes:
    """A coarser level that says so: it is black."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        options = {"tile": (64, 64), "photometric": "rgb", "compression": "zlib"}
        writer.write(PIXELS, subifds=1, **options)
        writer.write(np.zeros_like(PIXELS[::4, ::4]), subfiletype=1, **options)
    return file.getvalue()


def test_a_file_that_is_open_and_one_in_memory_are_read_alike(tmp_path):
    for content in (tiff(), tiff(tile=(64, 64), compression="zlib"), pyramid()):
        (tmp_path / "a.tif").write_bytes(content)
        with (tmp_path / "a.tif").open("rb") as file:
            for source in (content, file, tmp_path / "a.tif"):
                for box, longest in ((None, 420), ((10, 20, 100, 50), 100), ((7, 3, 99, 50), 40)):
                    left, top, width, height = box or (0, 0, 420, 300)
                    step = -(-max(width, height) // longest)
                    expected = PIXELS[top : top + height : step, left : left + width : step]
                    found, size = read_reduced(source, limits=Limits(), box=box, longest=longest)
                    assert size == (300, 420)
                    np.testing.assert_array_equal(found, np.moveaxis(expected, -1, 0))


def test_of_a_pyramid_the_level_is_read_that_is_fine_enough():
    for longest, is_coarse in ((420, False), (141, False), (105, True), (20, True)):
        found, _ = read_reduced(pyramid(), limits=Limits(), box=None, longest=longest)
        assert (found.max() == 0) == is_coarse
        step = -(-420 // longest)
        assert found.shape == (3, -(-300 // step), -(-420 // step))


def test_a_part_that_is_not_in_the_image_and_an_image_too_large_are_refused():
    with pytest.raises(ImageError, match="420 x 300"):
        read_reduced(tiff(), limits=Limits(), box=(400, 0, 21, 1), longest=10)
    with pytest.raises(ImageError, match="at most 1,000"):
        read_reduced(pyramid(), limits=Limits(max_pixels=1000), box=None, longest=10)
    assert read_reduced(b"\x89PNG\r\n", limits=Limits(), box=None, longest=10) is None
