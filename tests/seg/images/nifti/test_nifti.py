import gzip
import struct
import tracemalloc

import nibabel
import numpy as np
import pytest
import SimpleITK

from seg.errors import ImageError, ImageTooLargeError, UnsupportedImageError
from seg.images import (
    Image,
    Limits,
    Mask,
    encode_mask,
    open_image,
    read_image,
    read_mask,
    write_image,
)
from seg.images.nifti.whole import encode_nifti

VOXELS = np.random.default_rng(0).integers(-900, 900, (4, 5, 6)).astype(np.int16)  # x, y, z
OBLIQUE = np.array([[0, -2, 0, 10], [0.6, 0, 2.4, 20], [0.8, 0, -1.8, 30], [0, 0, 0, 1.0]])
"""Columns of lengths 1 (x), 2 (y) and 3 (z) mm."""


def nifti(array=VOXELS, affine=OBLIQUE, kind=nibabel.Nifti1Image, **header):
    image = kind(array, affine, dtype=array.dtype)
    for field, value in header.items():
        image.header[field] = value
    return image.to_bytes()


def patched(content, at, packing, *values):
    block = bytearray(content)
    struct.pack_into(packing, block, at, *values)
    return bytes(block)


def test_an_sform_with_voxels_of_another_size_than_pixdim_is_told(tmp_path):
    content = nifti(pixdim=[1, 1, 1, 1, 0, 0, 0, 0])
    (tmp_path / "two.nii").write_bytes(content)
    with open_image(tmp_path / "two.nii") as parts:
        for image in (read_image(content), parts):
            assert image.spacing == (3.0, 2.0, 1.0)
            assert [note.code for note in image.notes] == ["two_voxel_sizes"]
            assert "3 x 2 x 1 mm by its sform" in image.notes[0]
    itk = SimpleITK.ReadImage(str(tmp_path / "two.nii"))
    assert itk.GetSpacing() == (1.0, 1.0, 1.0)
    assert read_image(nifti()).notes == ()


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_axes_are_reversed_and_the_position_is_kept(kind, pack):
    image = read_image(pack(nifti(kind=kind)))
    np.testing.assert_array_equal(image.array[0], VOXELS.transpose(2, 1, 0))
    assert image.array.dtype == np.int16
    assert image.spacing == (3.0, 2.0, 1.0)
    np.testing.assert_allclose(image.affine, OBLIQUE, atol=1e-6)


def test_nibabel_agrees_on_where_a_voxel_lies(tmp_path):
    (tmp_path / "a.nii").write_bytes(nifti())
    image, theirs = read_image(tmp_path / "a.nii"), nibabel.load(tmp_path / "a.nii")
    x, y, z = 3, 1, 4
    assert image.array[0, z, y, x] == theirs.dataobj[x, y, z]
    np.testing.assert_allclose(image.affine @ (x, y, z, 1), theirs.affine @ (x, y, z, 1))


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "int64", "float32", "float64"]
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_the_files_own_numbers_are_read(dtype, order):
    image = nibabel.Nifti1Image(VOXELS.astype(dtype), OBLIQUE, dtype=dtype)
    swapped = nibabel.Nifti1Image(
        image.dataobj, OBLIQUE, image.header.as_byteswapped(order), dtype=dtype
    )
    array = read_image(swapped.to_bytes()).array
    assert array.dtype == dtype
    assert array.dtype.isnative
    assert array.flags.writeable
    np.testing.assert_array_equal(array[0], VOXELS.astype(dtype).T)


@pytest.mark.parametrize(("dtype", "expected"), [("int16", "float32"), ("int32", "float64")])
def test_scaled_numbers_are_read_as_intensities(dtype, expected):
    content = nifti(VOXELS.astype(dtype), scl_slope=0.5, scl_inter=-1024)
    array = read_image(content).array
    assert array.dtype == expected
    np.testing.assert_array_equal(array[0], VOXELS.T * 0.5 - 1024)


def test_the_fourth_axis_holds_channels_and_the_fifth_does_where_there_is_no_fourth():
    channels = np.stack([VOXELS, VOXELS + 1], axis=-1)
    for array in (channels, channels[:, :, :, None]):
        read = read_image(nifti(array)).array
        np.testing.assert_array_equal(read, np.stack([VOXELS.T, VOXELS.T + 1]))


def test_one_slice_is_flat_where_a_flat_image_is_wanted():
    content = nifti(VOXELS[:, :, :1])
    assert read_image(content, dims=2).array.shape == (1, 5, 4)
    assert read_image(content, dims=2).spacing == (2.0, 1.0)
    assert read_image(content, dims=3).array.shape == (1, 1, 5, 4)


def test_the_mask_of_a_slice_is_a_slice_in_the_same_place(classes):
    image = read_image(nifti(VOXELS[:, :, :1]), dims=2)
    mask = Mask.on_grid_of(image, np.eye(5, 4, dtype=np.uint8))
    written = nibabel.Nifti1Image.from_bytes(gzip.decompress(encode_mask(mask, "nifti", classes)))
    assert written.shape == (4, 5, 1)
    assert written.get_data_dtype() == np.uint8
    np.testing.assert_allclose(written.affine, OBLIQUE, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(written.dataobj)[..., 0], np.eye(4, 5))


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1), ("micron", 1e-3), ("meter", 1e3)])
def test_units_become_millimetres(unit, factor):
    image = nibabel.Nifti1Image(VOXELS, OBLIQUE)
    image.header.set_xyzt_units(unit)
    read = read_image(image.to_bytes())
    assert read.spacing == pytest.approx((3 * factor, 2 * factor, factor))
    np.testing.assert_allclose(read.affine[:3], OBLIQUE[:3] * factor, rtol=1e-6)


def test_voxel_sizes_without_a_position_give_a_spacing_and_no_affine():
    image = nibabel.Nifti1Image(VOXELS, None)
    image.header.set_zooms((1.5, 0.7, 3))
    read = read_image(image.to_bytes())
    assert read.spacing == (3.0, 0.7, 1.5)
    assert read.affine is None


def test_a_header_of_ones_without_unit_or_position_says_nothing():
    read = read_image(nibabel.Nifti1Image(VOXELS, None).to_bytes())
    assert read.spacing is None
    assert read.affine is None


def test_a_sheared_grid_is_written_where_it_lies(tmp_path):
    sheared = np.array([[1, 0.4, 0, 0], [0, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1.0]])
    write_image(tmp_path / "a.nii", Image(VOXELS.T[None], affine=sheared))
    written = nibabel.load(tmp_path / "a.nii")
    np.testing.assert_allclose(written.affine, sheared, atol=1e-6)
    # ITK has no shears: it gets the first slice in its place, and slices on a straight stack
    opened = SimpleITK.ReadImage(str(tmp_path / "a.nii"))
    assert opened.GetDirection() == pytest.approx((-1, 0, 0, 0, -1, 0, 0, 0, 1), abs=1e-6)
    assert opened.GetSize() == VOXELS.shape


def test_a_turned_grid_is_told_in_both_ways_that_programs_look_for(tmp_path):
    write_image(tmp_path / "a.nii", Image(VOXELS.T[None], affine=OBLIQUE))
    header = nibabel.load(tmp_path / "a.nii").header
    np.testing.assert_allclose(header.get_sform(), OBLIQUE, atol=1e-5)
    np.testing.assert_allclose(header.get_qform(), OBLIQUE, atol=1e-5)


def test_an_axis_too_long_for_nifti1_is_written_as_nifti2(tmp_path):
    write_image(tmp_path / "a.nii", Image(np.zeros((1, 2, 40_000), np.uint8)))
    assert nibabel.load(tmp_path / "a.nii").header["sizeof_hdr"] == 540
    assert read_image(tmp_path / "a.nii", dims=2).array.shape == (1, 2, 40_000)


def test_a_written_file_is_the_same_every_time(classes):
    mask = Mask(np.eye(5, dtype=np.uint8), spacing=(1.0, 2.0))
    assert encode_mask(mask, "nifti", classes) == encode_mask(mask, "nifti", classes)


UNSUPPORTED = {
    "whole or real numbers up to 64 bits": nifti(VOXELS.astype(np.complex64)),
    "got RGB; save each colour": nifti(
        np.zeros((4, 5, 6), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    ),
    "at most four axes": nifti(np.zeros((2, 2, 2, 3, 4), np.uint8)),
    "one half of a .hdr/.img pair": patched(nifti(), 344, "4s", b"ni1\0"),
    "gzip is read around NIfTI only": gzip.compress(b"text" * 200),
}

DAMAGED = {
    "ends within its header": gzip.compress(nifti()[:300]),
    "announces 240 bytes of voxels and the file holds fewer": nifti()[:-1],
    "the file holds fewer": gzip.compress(nifti()[:-1]),
    "damaged or cut short": gzip.compress(nifti())[:-20],
    "affine holds NaN": patched(nifti(), 280, "<f", np.nan),
    "onto a plane": patched(nifti(), 280, "<3f", 0, 0, 0),
    "above 0 mm": patched(nifti(affine=None), 80, "<f", 0.0),
    "none empty": patched(nifti(), 42, "<h", -4),
    "names voxel type 77": patched(nifti(), 70, "<h", 77),
    "puts the voxels at byte 999999995904": patched(nifti(), 108, "<f", 1e12),
    "convert float NaN": patched(nifti(), 108, "<f", np.nan),
    "invalid intercept inf": patched(nifti(), 116, "<f", np.inf),
}


@pytest.mark.parametrize("words", UNSUPPORTED)
def test_what_is_no_volume_of_numbers_is_refused(words):
    with pytest.raises(UnsupportedImageError, match=words):
        read_image(UNSUPPORTED[words])


@pytest.mark.parametrize("words", DAMAGED)
def test_a_damaged_file_is_refused_with_what_is_wrong(words):
    with pytest.raises(ImageError, match=words):
        read_image(DAMAGED[words])


def test_a_changed_voxel_in_a_gzipped_file_is_noticed():
    content = bytearray(gzip.compress(nifti(), compresslevel=0))
    content[-30] ^= 1
    with pytest.raises(ImageError, match="CRC check failed"):
        read_image(bytes(content))


def test_a_gzip_bomb_is_inflated_no_further_than_its_header_says():
    bomb = gzip.compress(nifti() + bytes(2**25), compresslevel=1)
    tracemalloc.start()
    array = read_image(bomb).array
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert array.shape == (1, 6, 5, 4)
    assert peak < 2**22


def test_a_header_that_announces_too_much_is_refused_before_anything_is_inflated():
    announced = patched(nifti(), 42, "<3h", 30_000, 30_000, 100)
    with pytest.raises(ImageTooLargeError, match="pixels a plane are read, got 900,000,000"):
        read_image(gzip.compress(announced))
    with pytest.raises(ImageTooLargeError, match="at most 119 voxels are read, got 120"):
        read_image(nifti(), limits=Limits(max_voxels=119))


def test_a_volume_is_no_flat_image_and_the_other_way_round():
    with pytest.raises(ImageError, match="a volume of 6 slices; send one slice"):
        read_image(nifti(), dims=2)
    with pytest.raises(ImageError, match="a volume is needed, the NIfTI file is flat"):
        read_image(nifti(VOXELS[:, :, 0]), dims=3)


def test_labels_kept_as_float_are_labels():
    labels = (VOXELS > 0).astype(np.float32)
    mask = read_mask(nifti(labels))
    assert mask.array.dtype == np.uint8
    np.testing.assert_array_equal(mask.array, labels.T)
    assert mask.spacing == (3.0, 2.0, 1.0)


def test_numbers_that_nifti_lacks_are_refused():
    with pytest.raises(UnsupportedImageError, match="cannot hold float16"):
        encode_nifti(Image(np.zeros((1, 4, 5), np.float16)))
