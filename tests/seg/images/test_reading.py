import io
from types import ModuleType

import numpy as np
import PIL.Image
import pytest

import seg.images
from seg.errors import ImageError, ImageTooLargeError, UnsupportedImageError
from seg.images import (
    Image,
    Limits,
    Mask,
    read_channels,
    read_image,
    read_mask,
    write_image,
)

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4)


def png(pixels):
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_all_lists_what_is_there():
    there = {name for name, value in vars(seg.images).items() if not isinstance(value, ModuleType)}
    assert {name for name in there if not name.startswith("_")} == set(seg.images.__all__)


def test_the_content_decides_and_not_the_name(tmp_path):
    (tmp_path / "image.nii.gz").write_bytes(png(GREY))
    np.testing.assert_array_equal(read_image(tmp_path / "image.nii.gz").array, GREY[None])


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b"", ImageError, "^the file is empty$"),
        (b"a,b\n1,2\n", UnsupportedImageError, "is needed; the file is none of them"),
        (bytes(128) + b"DICM" + bytes(99), ImageError, "the DICOM file holds no image"),
        (b"GIF89a" + bytes(99), UnsupportedImageError, "a GIF file; save it as PNG"),
    ],
)
def test_other_files_are_refused_with_what_to_do(content, error, words):
    with pytest.raises(error, match=words):
        read_image(content)


def test_of_a_large_file_that_is_no_image_only_the_beginning_is_read():
    other = io.BytesIO(bytes(2 << 20))
    with pytest.raises(UnsupportedImageError, match="the file is none of them"):
        read_image(other)
    assert other.tell() < 1 << 20


def test_an_open_file_is_read_from_its_start_and_has_no_folder(tmp_path):
    file = io.BytesIO(png(GREY))
    file.seek(7)
    np.testing.assert_array_equal(read_image(file).array[0], GREY)
    (tmp_path / "voxels.raw").write_bytes(bytes(8))
    header = "NDims = 2\nDimSize = 4 2\nElementType = MET_UCHAR\nElementDataFile = voxels.raw\n"
    (tmp_path / "image.mhd").write_text(header)
    assert read_image(tmp_path / "image.mhd").spatial_shape == (2, 4)
    with (tmp_path / "image.mhd").open("rb") as named, pytest.raises(ImageError):
        read_image(named)


def test_a_path_is_named_in_the_message_and_bytes_have_no_name(tmp_path):
    (tmp_path / "case.png").write_bytes(b"text")
    with pytest.raises(UnsupportedImageError, match=r"case\.png: PNG, JPEG"):
        read_image(tmp_path / "case.png")
    with pytest.raises(UnsupportedImageError, match=r"^PNG, JPEG"):
        read_image(b"text")


def test_a_path_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ImageError, match=r"gone\.png cannot be opened: No such file"):
        read_image(tmp_path / "gone.png")


def test_channels_come_from_one_file_each_or_all_from_one():
    one, two = png(GREY), png(GREY + 1)
    np.testing.assert_array_equal(read_channels([one, two]).array, np.stack([GREY, GREY + 1]))
    color = np.dstack([GREY] * 3)
    np.testing.assert_array_equal(read_channels([png(color)]).array, np.moveaxis(color, 2, 0))


def test_channels_keep_the_grid_of_their_files(tmp_path):
    affine = np.diag([2.0, 3, 4, 1])
    for name in ("a.nii", "b.nii"):
        image = Image(np.ones((1, 2, 3, 4), np.uint8), spacing=(4.0, 3.0, 2.0), affine=affine)
        write_image(tmp_path / name, image)
    image = read_channels([tmp_path / "a.nii", tmp_path / "b.nii"], dims=3)
    assert image.array.shape == (2, 2, 3, 4)
    assert image.spacing == (4.0, 3.0, 2.0)
    np.testing.assert_array_equal(image.affine, affine)


def test_channels_of_different_sizes_are_refused():
    with pytest.raises(ImageError, match=r"file 1 has \(3, 4\) and file 2 has \(2, 4\); resample"):
        read_channels([png(GREY), png(GREY[:2])])


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (Image(GREY[None], spacing=(1.0, 2.5)), "spacing"),
        (Image(GREY[None]), "spacing"),
        (Image(GREY[None], spacing=(1.0, 2.0), affine=np.diag([2.0, 1, 1, 1])), "affine"),
    ],
    ids=["spacing", "no spacing", "affine"],
)
def test_channels_of_different_grids_are_refused(tmp_path, other, what):
    write_image(tmp_path / "a.nii", Image(GREY[None], spacing=(1.0, 2.0)))
    write_image(tmp_path / "b.nii", other)
    with pytest.raises(ImageError, match=f"{what} of file 1 and of file 2 differ"):
        read_channels([tmp_path / "a.nii", tmp_path / "b.nii"], dims=2)


def test_no_file_is_refused():
    with pytest.raises(ImageError, match="at least one file is needed"):
        read_channels([])


def test_all_channels_together_are_held_to_the_limits():
    with pytest.raises(ImageTooLargeError, match="at most 30 bytes once decoded are read, got 36"):
        read_channels([png(GREY)] * 5, limits=Limits(max_bytes=30))


def test_a_grey_mask_saved_as_rgb_is_grey():
    np.testing.assert_array_equal(read_mask(png(np.dstack([GREY] * 3))).array, GREY)


def test_a_mask_of_colours_is_refused():
    with pytest.raises(ImageError, match="one channel of class numbers, got 3; save it with a pal"):
        read_mask(png(np.dstack([GREY, GREY, GREY + 1])))


def test_a_mask_with_a_channel_for_each_class_says_what_to_save(tmp_path):
    np.save(tmp_path / "m.npy", np.eye(3, dtype=np.uint8)[np.arange(6).reshape(2, 3) % 3].T)
    with pytest.raises(ImageError, match=r"got 3; each channel is one class: save .* \(argmax\)"):
        read_mask(tmp_path / "m.npy", dims=2)


def test_a_mask_as_jpeg_is_refused():
    buffer = io.BytesIO()
    PIL.Image.fromarray(GREY).save(buffer, "JPEG")
    with pytest.raises(UnsupportedImageError, match="a mask cannot be a JPEG file"):
        read_mask(buffer.getvalue())


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.array([[0, 0.5]], np.float32), "whole class numbers, got fractions"),
        (np.array([[0, np.nan]], np.float32), "whole class numbers, got fractions or NaN"),
        (np.array([[0, np.inf]], np.float32), "class numbers lie between 0 and"),
        (np.array([[0, 2**24 + 2]], np.float32), "from 16777216 on apart"),
        (np.array([[0, -1]], np.int16), "class numbers lie between 0 and 4294967295, got -1 to 0"),
    ],
)
def test_what_is_no_class_number_is_refused(tmp_path, labels, words):
    write_image(tmp_path / "mask.tif", Image(labels[None]))
    with pytest.raises(ImageError, match=words):
        read_mask(tmp_path / "mask.tif")


@pytest.mark.parametrize(("highest", "dtype"), [(1, "uint8"), (255, "uint8"), (256, "uint16")])
def test_labels_take_the_smallest_type(tmp_path, highest, dtype):
    write_image(tmp_path / "mask.tif", Image(np.array([[[0, highest]]], np.int32)))
    mask = read_mask(tmp_path / "mask.tif")
    assert isinstance(mask, Mask)
    assert mask.array.dtype == dtype
