import gzip
from unittest.mock import patch

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.random import default_rng

from seg.errors import ImageError
from seg.images import (
    Image,
    open_channels,
    open_image,
    read_image,
    read_mask,
    write_image,
    write_mask_parts,
)

AFFINE = np.array([[0, -0.7, 0, 5], [0.7, 0, 0, -3], [0, 0, 2.5, 9], [0, 0, 0, 1.0]])


def whole(source):
    return source.read(tuple(slice(0, n) for n in source.spatial_shape))


def rgb(path, **options):
    pixels = default_rng(0).integers(0, 255, (70, 90, 3)).astype(np.uint8)
    tifffile.imwrite(path, pixels, photometric="rgb", **options)


def stack(path, **options):
    pixels = default_rng(0).integers(0, 60_000, (7, 2, 50, 40)).astype(np.uint16)
    tifffile.imwrite(path, pixels, ome=True, metadata={"axes": "ZCYX"}, **options)


def pyramid(path, shape=(3, 200, 170), axes="CYX", **options):
    pixels = default_rng(0).integers(0, 60_000, shape).astype(np.uint16)
    options |= {"tile": (32, 16), "compression": "zlib"}
    with tifffile.TiffWriter(path, bigtiff=True, ome=True) as file:
        file.write(pixels, subifds=2, metadata={"axes": axes}, **options)
        y = axes.index("Y")
        for step in (2, 4):
            smaller = pixels[(slice(None),) * y + (slice(None, None, step),) * 2]
            file.write(smaller, subfiletype=1, **options)


def white_is_zero(path):
    tifffile.imwrite(
        path, np.arange(64, dtype=np.uint8).reshape(8, 8), photometric="miniswhite", tile=(16, 16)
    )


def with_alpha(path):
    pixels = default_rng(0).integers(0, 255, (40, 30, 4)).astype(np.uint8)
    tifffile.imwrite(path, pixels, photometric="rgb", extrasamples=["unassalpha"], tile=(16, 16))


def palette(path):
    pixels = default_rng(0).integers(0, 255, (40, 30)).astype(np.uint8)
    colours = default_rng(0).integers(0, 60_000, (3, 256)).astype(np.uint16)
    tifffile.imwrite(path, pixels, photometric="palette", colormap=colours)


def nifti(path, dtype="int16"):
    voxels = default_rng(0).integers(0, 99, (1, 6, 20, 30)).astype(dtype)
    write_image(path, Image(voxels, spacing=(2.5, 0.7, 0.7), affine=AFFINE))


FILES = {
    "tiled.tif": lambda p: rgb(p, tile=(32, 16), compression="zlib"),
    "strips.tif": lambda p: rgb(p, rowsperstrip=7, compression="lzw"),
    "plain.tif": rgb,
    "big-endian.tif": lambda p: rgb(p, byteorder=">"),
    "stack.ome.tif": lambda p: stack(p, tile=(16, 32), compression="zlib"),
    "plain-stack.ome.tif": stack,
    "pyramid.ome.tif": pyramid,
    "rgb-pyramid.ome.tif": lambda p: pyramid(p, (200, 170, 3), "YXS", photometric="rgb"),
    "pyramid-of-stacks.ome.tif": lambda p: pyramid(p, (4, 90, 70), "ZYX"),
    "white.tif": white_is_zero,
    "alpha.tif": with_alpha,
    "palette.tif": palette,
    "volume.nii": nifti,
    "volume.nii.gz": nifti,
    "floats.nii": lambda p: nifti(p, "float32"),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for name, write in FILES.items():
        write(folder / name)
    return folder


@pytest.mark.parametrize("name", FILES)
def test_an_image_opened_is_the_image_read(files, name):
    read = read_image(files / name)
    with open_image(files / name) as source:
        assert source.spatial_shape == read.spatial_shape
        assert source.channels == read.channels
        assert source.spacing == read.spacing
        if read.affine is not None:
            np.testing.assert_array_equal(source.affine, read.affine)
        assert whole(source).dtype == read.array.dtype
        np.testing.assert_array_equal(whole(source), read.array)


@given(name=st.sampled_from(sorted(FILES)), data=st.data())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_region_is_that_part_of_the_image(files, name, data):
    read = read_image(files / name)
    region = []
    for size in read.spatial_shape:
        start = data.draw(st.integers(0, size - 1))
        region.append(slice(start, data.draw(st.integers(start + 1, size))))
    with open_image(files / name) as source:
        np.testing.assert_array_equal(
            source.read(tuple(region)), read.array[(slice(None), *region)]
        )


def test_a_tile_is_decoded_once_for_all_of_its_rows(files):
    with open_image(files / "rgb-pyramid.ome.tif") as source:
        decoded = []
        original = source._decoded
        source._decoded = lambda index: decoded.append(index[-3]) or original(index)
        rows = [source.read((slice(y, y + 5), slice(0, 170))) for y in range(0, 200, 5)]
    assert decoded == [slice(0, 64), slice(64, 128), slice(128, 192), slice(192, 200)]
    expected = read_image(files / "rgb-pyramid.ome.tif").array
    np.testing.assert_array_equal(np.concatenate(rows, axis=1), expected)


def test_files_of_one_channel_each_are_one_image(tmp_path):
    arrays = default_rng(0).integers(0, 99, (2, 5, 20, 30)).astype(np.int16)
    paths = [tmp_path / f"case_{i:04}.nii" for i in range(2)]
    for path, array in zip(paths, arrays, strict=True):
        write_image(path, Image(array[None], spacing=(2.5, 0.7, 0.7), affine=AFFINE))
    with open_channels(paths) as source:
        assert source.channels == 2
        np.testing.assert_array_equal(whole(source), arrays)


def test_channels_on_other_grids_are_refused(tmp_path):
    for name, size in (("a.nii", 4), ("b.nii", 5)):
        write_image(tmp_path / name, Image(np.zeros((1, size, 8, 8), np.int16)))
    paths = [tmp_path / "a.nii", tmp_path / "b.nii"]
    with pytest.raises(ImageError, match="all channels need one size"), open_channels(paths):
        pass


@pytest.mark.parametrize("name", ["volume.nii", "volume.nii.gz", "tiled.tif"])
def test_a_file_cut_short_is_one_clear_error(files, tmp_path, name):
    content = (files / name).read_bytes()
    cut = tmp_path / name
    cut.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(ImageError, match="send the whole file"), open_image(cut) as source:
        whole(source)


def test_a_gzipped_file_is_inflated_no_further_than_its_header_says(files, tmp_path):
    content = gzip.decompress((files / "volume.nii.gz").read_bytes())
    bomb = tmp_path / "bomb.nii.gz"
    bomb.write_bytes(gzip.compress(content + bytes(2**24)))
    with open_image(bomb) as source:
        np.testing.assert_array_equal(whole(source), read_image(files / "volume.nii.gz").array)


def parts_of(labels, sizes):
    start = 0
    while start < len(labels):
        size = sizes.pop() if sizes else 7
        yield labels[start : start + size]
        start += size


@given(
    shape=st.lists(st.integers(1, 40), min_size=2, max_size=3),
    sizes=st.lists(st.integers(1, 30), max_size=5),
    name=st.sampled_from(["mask.tif", "mask.nii", "mask.nii.gz"]),
)
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_mask_written_in_parts_reads_back_as_it_was(tmp_path, shape, sizes, name):
    labels = default_rng(0).integers(0, 9, shape).astype(np.uint8)
    image = Image(labels[None], spacing=(2.5, 0.7, 0.7)[-len(shape) :])
    format = "tiff" if name.endswith("tif") else "nifti"
    with patch("seg.images.writing_parts.TILE", 16):
        write_mask_parts(tmp_path / name, parts_of(labels, sizes), image, format)
    back = read_mask(tmp_path / name, dims=len(shape))
    np.testing.assert_array_equal(back.array, labels)
    np.testing.assert_allclose(back.spacing, image.spacing, rtol=1e-6)


def test_a_volume_keeps_its_place_in_the_world(tmp_path):
    labels = np.zeros((3, 4, 5), np.uint8)
    image = Image(labels[None], spacing=(2.5, 0.7, 0.7), affine=AFFINE)
    write_mask_parts(tmp_path / "mask.nii.gz", iter([labels]), image, "nifti")
    np.testing.assert_allclose(read_mask(tmp_path / "mask.nii.gz").affine, AFFINE, atol=1e-6)


@pytest.mark.parametrize("name", ["mask.tif", "mask.nii"])
def test_a_mask_that_is_not_finished_leaves_the_old_file_alone(tmp_path, name):
    def parts():
        yield np.zeros((4, 8), np.uint8)
        raise ImageError("the scanner was unplugged")

    (tmp_path / name).write_bytes(b"old")
    image = Image(np.zeros((1, 8, 8), np.uint8))
    with pytest.raises(ImageError, match="unplugged"):
        write_mask_parts(tmp_path / name, parts(), image, "tiff" if "tif" in name else "nifti")
    assert (tmp_path / name).read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == [name]
