"""Damage of every kind to small files of every format: an image or an ``ImageError`` comes out.

``python benchmarks/fuzz.py`` draws from the same damages, many more of them; what it finds is
drawn again here by name and number.
"""

import logging
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seg.errors import ImageError
from seg.images import Image, Limits, Mask, read_image, read_mask
from tests.seg.images.storage.damage import damaged, small_files, whole

SMALL = Limits(max_pixels=2**20, max_voxels=2**20, max_bytes=2**22)
MASKS = ("npz", "liver_1frame.dcm")


@pytest.fixture(autouse=True)
def _quiet_libraries():
    """What libraries remark on damaged files is of no interest here."""
    logging.disable(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", small_files())
def test_the_undamaged_file_is_read(name):
    read = read_mask if name in MASKS else read_image
    assert read(whole(name), limits=SMALL).array.size


@pytest.mark.parametrize("name", small_files())
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), dims=st.sampled_from([None, 2, 3]))
def test_a_damaged_file_is_an_image_error_or_an_image(name, seed, dims):
    content = damaged(name, seed)
    for read, kind in ((read_image, Image), (read_mask, Mask)):
        try:
            result = read(content, dims=dims, limits=SMALL)
        except ImageError:
            continue
        assert isinstance(result, kind)
