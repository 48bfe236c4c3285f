"""What is written is read again: array, spacing and affine, in every format that holds them."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.spatial.transform import Rotation

from seg.images import (
    MASK_FORMATS,
    ClassInfo,
    Image,
    Mask,
    encode_mask,
    read_image,
    read_mask,
    write_image,
    write_mask,
)
from tests.seg.images.dicom.sources import image_of, labels_of

CLASSES = [ClassInfo(index=i, name=f"class {i}", color=(i, 255 - i, 7)) for i in range(256)]
TIFF_TYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]
NIFTI_TYPES = [*TIFF_TYPES, "int64", "uint64"]

shapes = st.lists(st.integers(1, 6), min_size=2, max_size=3).map(tuple)
volumes = st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6))
flat_shapes = st.tuples(st.integers(1, 70), st.integers(1, 70))
millimetres = st.integers(1, 10_000).map(lambda n: n / 1000)


@st.composite
def grids(draw, shape):
    """Spacing and affine that agree, or neither, or the spacing alone."""
    known = draw(st.sampled_from(["nothing", "spacing", "position"]))
    spacing = tuple(draw(millimetres) for _ in shape)
    if known != "position":
        return (None if known == "nothing" else spacing), None
    # ITK's singular values fail on entries of 1e-299, which no scanner writes
    angles = st.floats(-3, 3).map(lambda angle: round(angle, 6))
    turn = Rotation.from_rotvec(draw(st.lists(angles, min_size=3, max_size=3)))
    mirror = draw(st.sampled_from([-1.0, 1.0]))
    affine = np.eye(4)
    affine[:3, :3] = turn.as_matrix() * [mirror, 1, 1] * [*spacing[::-1], 1.0][:3]
    affine[:3, 3] = draw(st.lists(st.floats(-500, 500), min_size=3, max_size=3))
    return spacing, affine


@st.composite
def masks(draw, shapes=shapes):
    """What a mask is made of."""
    shape = draw(shapes)
    labels = draw(arrays.arrays(np.uint8, shape))
    return (labels, *draw(grids(shape)))


@st.composite
def images(draw, types):
    """What an image is made of."""
    shape = draw(shapes)
    dtype = draw(st.sampled_from(types))
    array = draw(arrays.arrays(dtype, (draw(st.integers(1, 4)), *shape)))
    return (array, *draw(grids(shape)))


def assert_same(read, written):
    assert read.array.dtype == written.array.dtype
    np.testing.assert_array_equal(read.array, written.array)


def assert_same_position(read, written):
    if written.spacing is None:
        assert read.spacing is None
    else:
        np.testing.assert_allclose(read.spacing, written.spacing, rtol=1e-5)
    if written.affine is None:
        assert read.affine is None
    else:
        np.testing.assert_allclose(read.affine, written.affine, rtol=1e-5, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(masks(flat_shapes))
def test_a_mask_as_png(fields):
    mask = Mask(*fields)
    assert_same(read_mask(encode_mask(mask, "png", CLASSES)), mask)


@settings(max_examples=40, deadline=None)
@given(masks())
def test_a_mask_as_tiff(fields):
    mask = Mask(*fields)
    read = read_mask(encode_mask(mask, "tiff", CLASSES), dims=mask.dims)
    assert_same(read, mask)
    assert read.spacing == mask.spacing


@settings(max_examples=40, deadline=None)
@given(masks())
def test_a_mask_as_nifti(fields):
    mask = Mask(*fields)
    read = read_mask(encode_mask(mask, "nifti", CLASSES), dims=mask.dims)
    assert_same(read, mask)
    assert_same_position(read, mask)


@settings(max_examples=40, deadline=None)
@given(masks())
def test_a_mask_as_npz(fields):
    mask = Mask(*fields)
    read = read_mask(encode_mask(mask, "npz", CLASSES), dims=mask.dims)
    assert_same(read, mask)
    assert read.spacing == mask.spacing
    assert_same_position(read, mask)


@settings(max_examples=40, deadline=None)
@given(fields=images(TIFF_TYPES))
def test_an_image_as_tiff(fields, tmp_path_factory):
    image = Image(*fields)
    path = tmp_path_factory.getbasetemp() / "image.tif"
    write_image(path, image)
    read = read_image(path, dims=image.dims)
    assert_same(read, image)
    assert read.spacing == image.spacing


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@settings(max_examples=40, deadline=None)
@given(fields=images(NIFTI_TYPES))
def test_an_image_as_nifti(fields, suffix, tmp_path_factory):
    image = Image(*fields)
    path = tmp_path_factory.getbasetemp() / f"image{suffix}"
    write_image(path, image)
    read = read_image(path, dims=image.dims)
    assert_same(read, image)
    assert_same_position(read, image)


@settings(max_examples=40, deadline=None)
@given(masks(), st.integers(0, 2**32 - 1))
def test_a_mask_lies_where_its_image_lies(fields, seed):
    array, spacing, affine = fields
    image = Image(array[None], spacing=spacing, affine=affine)
    labels = np.random.default_rng(seed).integers(0, 256, image.spatial_shape)
    mask = Mask.on_grid_of(image, labels)
    read = read_mask(encode_mask(mask, "nifti", CLASSES), dims=mask.dims)
    np.testing.assert_array_equal(read.array, labels)
    assert_same_position(read, image)


def assert_same_known_position(read, written):
    """NRRD and MetaImage always name a position: 1 mm from 0 on where there was none."""
    spacing = written.spacing or (1.0,) * written.dims
    np.testing.assert_allclose(read.spacing, spacing, rtol=1e-9)
    if written.affine is not None:
        np.testing.assert_allclose(read.affine, written.affine, rtol=1e-9, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(masks())
def test_a_mask_as_nrrd(fields):
    mask = Mask(*fields)
    read = read_mask(encode_mask(mask, "nrrd", CLASSES), dims=mask.dims)
    assert_same(read, mask)
    assert_same_known_position(read, mask)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@settings(max_examples=40, deadline=None)
@given(fields=images(NIFTI_TYPES))
def test_an_image_as_nrrd_or_metaimage(fields, suffix, tmp_path_factory):
    image = Image(*fields)
    path = tmp_path_factory.getbasetemp() / f"image{suffix}"
    write_image(path, image)
    read = read_image(path, dims=image.dims)
    assert_same(read, image)
    assert_same_known_position(read, image)


def resampled(mask_path, image_path):
    """SimpleITK's opinion of the labels at the voxels of the image."""
    image, mask = sitk.ReadImage(str(image_path)), sitk.ReadImage(str(mask_path))
    outside = 255
    placed = sitk.Resample(mask, image, sitk.Transform(), sitk.sitkNearestNeighbor, outside)
    return sitk.GetArrayFromImage(placed)


@pytest.mark.parametrize("image_suffix", [".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("format", ["nifti", "nrrd"])
@settings(max_examples=15, deadline=None)
@given(fields=masks(volumes), seed=st.integers(0, 99))
def test_itk_resamples_a_mask_onto_its_image_without_a_change(
    fields, format, image_suffix, seed, tmp_path_factory
):
    image = Image(fields[0][np.newaxis], *fields[1:])
    if image.affine is None and (format == "nifti") != (image_suffix == ".nii.gz"):
        return  # ITK reads a NIfTI file without a position along RAS, others along LPS
    folder = tmp_path_factory.getbasetemp()
    labels = np.random.default_rng(seed).integers(0, 3, image.spatial_shape).astype(np.uint8)
    image_path = folder / f"image{image_suffix}"
    mask_path = folder / f"mask{MASK_FORMATS[format].suffix}"
    write_image(image_path, image)
    write_mask(mask_path, Mask.on_grid_of(image, labels), format, CLASSES)
    np.testing.assert_array_equal(resampled(mask_path, image_path), labels)


dicom_turns = st.lists(st.floats(-3, 3), min_size=3, max_size=3).map(
    lambda vector: Rotation.from_rotvec(vector).as_matrix()
)


@settings(max_examples=15, deadline=None)
@given(dicom_turns, st.sampled_from([1.0, -1.0]), st.integers(0, 99))
def test_a_mask_as_dicom_seg(tmp_path_factory, turn, side, seed):
    image = image_of(tmp_path_factory.mktemp("series"), turn * [1, 1, side])
    labels = labels_of(image, seed)
    labels[[0, -1], 0, 0] = 1  # slices without a label at the ends are not in the file
    mask = Mask.on_grid_of(image, labels)
    read = read_mask(encode_mask(mask, "dicom-seg", CLASSES[:3], image))
    if (read.affine[:3, 2] @ mask.affine[:3, 2]) < 0:  # slices may be counted from either end
        flip = np.diag([1.0, 1, -1, 1])
        flip[2, 3] = len(labels) - 1
        read = Mask(read.array[::-1], read.spacing, read.affine @ flip)
    assert_same(read, mask)
    np.testing.assert_allclose(read.spacing, mask.spacing, rtol=1e-4)
    np.testing.assert_allclose(read.affine, mask.affine, atol=1e-3)
