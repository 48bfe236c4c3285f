"""Damage that must be noticed, and not only survived (for which see test_fuzz.py)."""

import logging
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seg.errors import ImageError
from seg.images import Limits, read_image, read_mask
from tests.seg.images.storage.damage import small_files, whole

SMALL = Limits(max_pixels=10**5, max_voxels=10**5, max_bytes=10**6)
NAMES = list(small_files())
MASKS = ("npz", "liver_1frame.dcm")
TOLERANT = ("jpeg", "JPGExtended.dcm", "SC_rgb_small_odd_jpeg.dcm")
"""JPEG tells its end by nothing that its readers insist on."""


@pytest.fixture(autouse=True)
def _quiet_libraries():
    """What Pillow, tifffile and nibabel remark on damaged files is of no interest here."""
    logging.disable(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", [name for name in NAMES if "nifti" not in name])
@settings(max_examples=10, deadline=None)
@given(noise=st.binary(max_size=600))
def test_noise_behind_a_true_beginning_is_an_image_error(name, noise):
    with pytest.raises(ImageError):
        read_image(whole(name)[:12] + noise, limits=SMALL)


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith(TOLERANT)])
def test_a_file_cut_short_is_never_read_as_another_image(name):
    content = whole(name)
    read = read_mask if name in MASKS else read_image
    sound = read(content)
    for length in range(0, len(content), max(1, len(content) // 60)):
        try:
            part = read(content[:length])
        except ImageError:
            continue
        np.testing.assert_array_equal(part.array, sound.array)
        assert part.spacing == sound.spacing
