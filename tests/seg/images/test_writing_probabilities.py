import gzip
import io
import json

import nibabel
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from seg.errors import ImageError, UnsupportedImageError
from seg.images import (
    PROBABILITY_FORMATS,
    Image,
    Mask,
    encode_probabilities,
    read_image,
    write_image,
)

NAMES = ["background", "nucleus", "cytoplasm"]
AFFINE = np.array([[0, 0.5, 0, 3.0], [-0.7, 0, 0, 4], [0, 0, 2.5, 5], [0, 0, 0, 1]])
SPACING = (2.5, 0.5, 0.7)
HALF_STEP = {"nifti": 2.0**-16, "tiff": 0.0, "npz": 2.0**-12}
"""Largest error of a probability: half a step, near 1 where 16-bit floats are coarsest."""

shapes = st.lists(st.integers(1, 5), min_size=3, max_size=4).map(tuple)
probabilities = shapes.flatmap(
    lambda shape: arrays.arrays(np.float32, shape, elements=st.floats(0, 1, width=32))
)


def read_back(content, format, dims):
    if format == "npz":
        return np.load(io.BytesIO(content))["probabilities"]
    return read_image(content, dims=dims).array


@pytest.mark.parametrize("format", PROBABILITY_FORMATS)
@settings(max_examples=40, deadline=None)
@given(array=probabilities)
def test_probabilities_come_back_within_half_a_step(format, array):
    grid = Mask(np.zeros(array.shape[1:], np.uint8))
    read = read_back(encode_probabilities(array, grid, format), format, grid.dims)
    assert read.shape == array.shape
    np.testing.assert_allclose(read, array, atol=HALF_STEP[format], rtol=0)
    assert (read >= 0).all()
    assert (read <= 1).all()
    certain = (array == 0) | (array == 0.5) | (array == 1)
    np.testing.assert_array_equal(read[certain], array[certain])


def volume():
    array = np.random.default_rng(0).random((3, 4, 5, 6), np.float32)
    return array, Image(np.zeros((1, 4, 5, 6), np.int16), SPACING, AFFINE)


def test_nifti_names_its_channels_and_lies_on_the_grid():
    array, grid = volume()
    content = encode_probabilities(array, grid, "nifti", NAMES)
    read = read_image(content)
    np.testing.assert_allclose(read.affine, AFFINE)
    assert read.spacing == SPACING
    stored = nibabel.Nifti1Image.from_bytes(gzip.decompress(content))
    assert stored.get_data_dtype() == np.uint16
    np.testing.assert_allclose(stored.get_fdata(), array.T, atol=2.0**-16)
    (comment,) = stored.header.extensions
    assert json.loads(comment.get_content()) == {"channels": NAMES}


def test_tiff_names_its_channels_and_keeps_the_spacing():
    array, grid = volume()
    content = encode_probabilities(array, grid, "tiff", NAMES)
    assert read_image(content).spacing == SPACING
    with tifffile.TiffFile(io.BytesIO(content)) as tiff:
        channels = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]["Pixels"]["Channel"]
    assert [channel["Name"] for channel in channels] == NAMES


def test_npz_holds_half_floats_names_and_the_grid():
    array, grid = volume()
    with np.load(io.BytesIO(encode_probabilities(array, grid, "npz", NAMES))) as read:
        assert read["probabilities"].dtype == np.float16
        assert read["names"].tolist() == NAMES
        assert read["spacing"].tolist() == list(SPACING)
        np.testing.assert_array_equal(read["affine"], AFFINE)


def test_half_floats_of_the_predictor_are_taken_as_they_are():
    array, grid = volume()
    half = array.astype(np.float16)
    for format in PROBABILITY_FORMATS:
        read = read_back(encode_probabilities(half, grid, format), format, 3)
        np.testing.assert_allclose(read, half, atol=HALF_STEP["nifti"])


def test_what_is_no_probability_is_refused():
    array, grid = volume()
    with pytest.raises(ImageError, match="between 0 and 1, got -3 to"):
        encode_probabilities(np.where(array < 0.1, -3, array), grid, "npz")
    with pytest.raises(ImageError, match="between 0 and 1, got nan"):
        encode_probabilities(np.full_like(array, np.nan), grid, "npz")
    with pytest.raises(ImageError, match="do not lie on a grid of"):
        encode_probabilities(array[:, 1:], grid, "npz")
    with pytest.raises(ImageError, match="3 classes need as many names, got 2: a, b"):
        encode_probabilities(array, grid, "npz", ["a", "b"])
    with pytest.raises(UnsupportedImageError, match="written as nifti, tiff, npz, got 'png'"):
        encode_probabilities(array, grid, "png")


@pytest.mark.parametrize("suffix", [".tif", ".nii.gz", ".nrrd", ".mha"])
def test_a_map_of_half_floats_is_written_as_the_same_numbers(tmp_path, suffix):
    array, grid = volume()
    entropy = Image(array[:1].astype(np.float16), grid.spacing, grid.affine)
    write_image(tmp_path / f"uncertainty{suffix}", entropy)
    read = read_image(tmp_path / f"uncertainty{suffix}", dims=3)
    np.testing.assert_array_equal(read.array, entropy.array)
    np.testing.assert_allclose(read.spacing, grid.spacing)
