"""Stacks, frame by frame."""

import numpy as np
import PIL.Image
import pytest
import tifffile
import zarr

from seg.errors import ImageError, UnsupportedImageError
from seg.images import Frame, Image, frames_in, read_frame, write_image

RNG = np.random.default_rng(0)
STACK = RNG.integers(0, 255, (5, 3, 2, 12, 14)).astype(np.uint16)
"""Moments, slices, channels."""


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_moments_of_an_ome_tiff_are_volumes_with_their_channels(tmp_path, compression):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(
        path, STACK, ome=True, compression=compression,
        metadata={"axes": "TZCYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5,
                  "PhysicalSizeXUnit": "mm", "PhysicalSizeYUnit": "mm", "PhysicalSizeZ": 2,
                  "PhysicalSizeZUnit": "mm"},
    )  # fmt: skip
    assert frames_in(path, "t") == 5
    frame = read_frame(path, Frame("t", 3), dims=3)
    np.testing.assert_array_equal(frame.array, STACK[3].swapaxes(0, 1))
    assert frame.spacing == pytest.approx((2, 0.5, 0.5))
    with pytest.raises(ImageError, match="5 frames"):
        read_frame(path, Frame("t", 5), dims=3)
    with pytest.raises(ImageError, match="volume"):
        read_frame(path, Frame("t", 0), dims=2)


@pytest.mark.parametrize("axis", ["t", "z", "position"])
def test_pages_without_a_name_are_what_they_are_asked_for_as(tmp_path, axis):
    pages = STACK[:, 0, 0]
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack", metadata=None)
    assert frames_in(tmp_path / "a.tif", axis) == 5
    for number in range(5):
        frame = read_frame(tmp_path / "a.tif", Frame(axis, number), dims=2)
        np.testing.assert_array_equal(frame.array[0], pages[number])


def test_imagej_s_moments_keep_their_channels(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", STACK[:, 0], imagej=True, metadata={"axes": "TCYX", "mode": "grayscale"}
    )
    assert frames_in(tmp_path / "a.tif", "t") == 5
    frame = read_frame(tmp_path / "a.tif", Frame("t", 4), dims=2)
    np.testing.assert_array_equal(frame.array, STACK[4, 0])


def test_positions_are_the_images_of_a_file(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as tiff:
        for number in range(3):
            tiff.write(STACK[number, 0, 0], metadata={"axes": "YX"})
    assert frames_in(tmp_path / "a.ome.tif", "position") == 3
    frame = read_frame(tmp_path / "a.ome.tif", Frame("position", 2), dims=2)
    np.testing.assert_array_equal(frame.array[0], STACK[2, 0, 0])


def test_moments_and_positions_of_an_ome_zarr(tmp_path):
    for layout in ("a.zarr", "b.zarr/0", "b.zarr/1"):
        group = zarr.open_group(tmp_path / layout, mode="w", zarr_format=2)
        values = STACK[:, :, 0] + layout.endswith("1")
        group.create_array("0", data=np.ascontiguousarray(values))
        axes = [{"name": "t", "type": "time"}]
        axes += [{"name": name, "type": "space", "unit": "millimeter"} for name in "zyx"]
        transform = [{"type": "scale", "scale": [1, 2.0, 0.5, 0.5]}]
        dataset = {"path": "0", "coordinateTransformations": transform}
        group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [dataset]}]
    zarr.open_group(tmp_path / "b.zarr", mode="a", zarr_format=2).attrs["bioformats2raw.layout"] = 3
    assert frames_in(tmp_path / "a.zarr", "t") == 5
    frame = read_frame(tmp_path / "a.zarr", Frame("t", 2), dims=3)
    np.testing.assert_array_equal(frame.array[0], STACK[2, :, 0])
    assert frame.spacing == (2.0, 0.5, 0.5)
    assert frames_in(tmp_path / "b.zarr", "position") == 2


def test_slices_of_any_volume_and_moments_of_nifti(tmp_path):
    volume = STACK[0].swapaxes(0, 1)[:1]
    write_image(tmp_path / "a.nrrd", Image(volume, spacing=(2.0, 0.5, 0.25)))
    assert frames_in(tmp_path / "a.nrrd", "z") == 3
    frame = read_frame(tmp_path / "a.nrrd", Frame("z", 1), dims=2)
    np.testing.assert_array_equal(frame.array, volume[:, 1])
    assert frame.spacing == pytest.approx((0.5, 0.25))
    write_image(tmp_path / "a.nii.gz", Image(STACK[:, :, 0], spacing=(2.0, 0.5, 0.25)))
    assert frames_in(tmp_path / "a.nii.gz", "t") == 5
    frame = read_frame(tmp_path / "a.nii.gz", Frame("t", 4), dims=3)
    np.testing.assert_array_equal(frame.array[0], STACK[4, :, 0])
    assert frames_in(tmp_path / "a.nii.gz", "position") == 1


@pytest.mark.parametrize("axis", ["t", "z", "position"])
@pytest.mark.parametrize("name", ["a.png", "a.tif", "b.tif", "a.zarr", "a.nii.gz", "a.nrrd"])
def test_what_has_no_such_axis_is_one_frame(tmp_path, name, axis):
    flat, path = STACK[0, 0, 0], tmp_path / name
    if name == "a.zarr":
        group = zarr.open_group(path, mode="w", zarr_format=2)
        group.create_array("0", data=flat)
        group.attrs["multiscales"] = [{"axes": ["y", "x"], "datasets": [{"path": "0"}]}]
    elif name == "b.tif":
        tifffile.imwrite(path, flat[None, None, None], ome=True, metadata={"axes": "TZCYX"})
    elif name == "a.png":
        PIL.Image.fromarray(flat).save(path)
    elif name == "a.tif":
        write_image(path, Image(flat[None]))
    else:
        write_image(path, Image(flat[None, None], spacing=(1.0, 1.0, 1.0)))
    assert frames_in(path, axis) == 1
    frame = read_frame(path, Frame(axis, 0), dims=2)
    np.testing.assert_array_equal(frame.array, flat[None])


def test_one_of_two_axes_that_nothing_names_is_not_guessed(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", STACK[:, :, 0], metadata={"axes": "QRYX"}, photometric="minisblack"
    )
    with pytest.raises(UnsupportedImageError, match="nothing says which axis t is"):
        frames_in(tmp_path / "a.tif", "t")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP"])
def test_a_picture_is_its_own_first_frame_and_has_no_other(tmp_path, kind):
    PIL.Image.fromarray(np.zeros((4, 5), np.uint8)).save(tmp_path / "a", kind)
    assert read_frame(tmp_path / "a", Frame("t", 0), dims=2).array.shape[1:] == (4, 5)
    with pytest.raises(ImageError, match="no number 7"):
        read_frame(tmp_path / "a", Frame("t", 7), dims=2)
