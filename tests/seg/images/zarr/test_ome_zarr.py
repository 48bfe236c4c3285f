import json
import subprocess
import sys

import numcodecs
import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

from seg.errors import ImageError, ImageTooLargeError, UnsupportedImageError
from seg.images import Limits, images_at, read_image, read_mask
from tests.seg.images.zarr.files import write_zarr, zipped_folder

VOLUME = np.random.default_rng(0).integers(0, 60000, (5, 12, 9)).astype(np.uint16)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_folder_and_its_zip_are_the_volume_with_its_spacing(tmp_path, version):
    folder = write_zarr(tmp_path / "a.ome.zarr", VOLUME, scale=(2.0, 0.5, 0.25), version=version)
    for source in (folder, zipped_folder(folder), zipped_folder(folder, "a.ome.zarr/")):
        image = read_image(source)
        np.testing.assert_array_equal(image.array[0], VOLUME)
        assert image.array.dtype == np.uint16
        assert image.spacing == pytest.approx((2e-3, 5e-4, 2.5e-4))
    assert images_at(tmp_path) == [folder]


TOGETHER = """
import sys, threading
from pathlib import Path
from seg.images import read_image
archive, folder = map(Path, sys.argv[1:])
read = []
first = threading.Thread(target=lambda: read.append(read_image(archive)))
first.start()
while "zarr" not in sys.modules and first.is_alive():
    pass
read.append(read_image(folder))
first.join()
assert len(read) == 2
"""


def test_threads_may_read_their_first_files_at_the_same_time(tmp_path):
    folder, file = write_zarr(tmp_path / "a.ome.zarr", VOLUME), tmp_path / "a.zarr.zip"
    file.write_bytes(zipped_folder(folder))
    subprocess.run([sys.executable, "-c", TOGETHER, file, folder], check=True)


@pytest.mark.parametrize(
    ("axes", "shape", "dims", "expected"),
    [
        ("tczyx", (1, 2, 5, 12, 9), None, (2, 5, 12, 9)),
        ("czyx", (2, 5, 12, 9), 3, (2, 5, 12, 9)),
        ("cyx", (3, 12, 9), None, (3, 12, 9)),
        ("tczyx", (1, 3, 1, 12, 9), 2, (3, 12, 9)),
        ("yx", (12, 9), None, (1, 12, 9)),
    ],
)
def test_axes_are_what_they_are_called(tmp_path, axes, shape, dims, expected):
    array = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    image = read_image(write_zarr(tmp_path / "a.zarr", array, axes), dims=dims)
    np.testing.assert_array_equal(image.array, array.reshape(expected))
    assert len(image.spacing) == len(expected) - 1


def test_without_units_there_is_no_spacing(tmp_path):
    image = read_image(write_zarr(tmp_path / "a.zarr", VOLUME, scale=(2.0, 1, 1), units={}))
    assert image.spacing is None


@pytest.mark.parametrize(
    ("transforms", "spacing"),
    [
        ([], None),
        ([{"type": "identity"}], (0.001,) * 3),
        ([{"type": "affine", "affine": [[2, 0, 0]]}], "type 'affine'"),
        ([{"type": "scale", "path": "scale"}], "a file of its own"),
    ],
)
def test_a_spacing_is_what_a_scale_says_and_nothing_else(tmp_path, transforms, spacing):
    folder = write_zarr(tmp_path / "a.zarr", VOLUME)
    attributes = json.loads((folder / ".zattrs").read_text())
    attributes["multiscales"][0]["datasets"][0]["coordinateTransformations"] = transforms
    (folder / ".zattrs").write_text(json.dumps(attributes))
    if isinstance(spacing, str):
        with pytest.raises(UnsupportedImageError, match=spacing):
            read_image(folder)
    else:
        assert read_image(folder).spacing == spacing


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_chunks_that_are_not_there_are_counted(tmp_path, version):
    folder = write_zarr(
        tmp_path / "a.zarr", VOLUME + 1, version=version, chunks=(1, *VOLUME.shape[1:])
    )
    assert read_image(folder).notes == ()
    first = min(each for each in (folder / "0").rglob("0*") if each.is_file())
    first.unlink()
    (note,) = read_image(folder).notes
    assert note.startswith(f"1 of {len(VOLUME)} chunks of the OME-Zarr are not there")


def test_a_level_alone_is_no_image(tmp_path):
    with pytest.raises(UnsupportedImageError, match="an array alone"):
        read_image(write_zarr(tmp_path / "a.zarr", VOLUME) / "0")


def test_arrays_of_the_first_versions_are_tczyx(tmp_path):
    folder = write_zarr(tmp_path / "a.zarr", VOLUME[None, None], "tczyx")
    attributes = json.loads((folder / ".zattrs").read_text())
    del attributes["multiscales"][0]["axes"]
    (folder / ".zattrs").write_text(json.dumps(attributes))
    np.testing.assert_array_equal(read_image(folder).array[0], VOLUME)


def test_labels_are_a_mask(tmp_path):
    labels = (VOLUME > 30000).astype(np.int32)
    mask = read_mask(write_zarr(tmp_path / "a.zarr", labels))
    np.testing.assert_array_equal(mask.array, labels)


def test_the_only_image_of_a_converted_file_is_read(tmp_path):
    zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2).attrs["bioformats2raw.layout"] = 3
    write_zarr(tmp_path / "a.zarr" / "0", VOLUME)
    np.testing.assert_array_equal(read_image(tmp_path / "a.zarr").array[0], VOLUME)
    write_zarr(tmp_path / "a.zarr" / "1", VOLUME)
    with pytest.raises(UnsupportedImageError, match="holds several images"):
        read_image(tmp_path / "a.zarr")


@pytest.mark.parametrize(
    "options",
    [
        {"compressors": None},
        {"compressors": BloscCodec()},
        {"compressors": ZstdCodec()},
        {"compressors": GzipCodec()},
    ],
    ids=["plain", "blosc", "zstd", "gzip"],
)
def test_compressions_are_read_from_a_zip(tmp_path, options):
    folder = write_zarr(tmp_path / "a.zarr", VOLUME, version="0.5", chunks=(2, 5, 4), **options)
    np.testing.assert_array_equal(read_image(zipped_folder(folder)).array[0], VOLUME)


def test_shards_are_read_from_a_folder_and_refused_in_a_zip(tmp_path):
    options = {"chunks": (1, 4, 4), "shards": (2, 8, 8)}
    folder = write_zarr(tmp_path / "a.zarr", VOLUME, version="0.5", **options)
    np.testing.assert_array_equal(read_image(folder).array[0], VOLUME)
    with pytest.raises(UnsupportedImageError, match="sharding_indexed; send it as a folder"):
        read_image(zipped_folder(folder))


@pytest.mark.parametrize(
    ("compressor", "bomb"),
    [
        (numcodecs.Blosc(), numcodecs.Blosc().encode(bytes(10**7))),
        (numcodecs.Zstd(), numcodecs.Zstd().encode(bytes(10**7))),
        (numcodecs.LZ4(), numcodecs.LZ4().encode(bytes(10**7))),
        (numcodecs.Zlib(), numcodecs.Zlib().encode(bytes(10**7))),
        (numcodecs.GZip(), numcodecs.GZip().encode(bytes(10**3)) * 10),
    ],
    ids=lambda value: getattr(value, "codec_id", ""),
)
def test_a_chunk_that_unpacks_to_too_much_is_refused_in_a_zip(tmp_path, compressor, bomb):
    folder = write_zarr(tmp_path / "a.zarr", VOLUME, compressors=compressor)
    assert read_image(zipped_folder(folder)).array.shape == (1, 5, 12, 9)
    (folder / "0" / "0.0.0").write_bytes(bomb)
    with pytest.raises(ImageError, match="unpacks to more than the 1,080 bytes"):
        read_image(zipped_folder(folder))


def test_what_is_announced_is_held_to_the_limits(tmp_path):
    folder = write_zarr(tmp_path / "a.zarr", VOLUME)
    with pytest.raises(ImageTooLargeError, match="at most 100 voxels"):
        read_image(folder, limits=Limits(max_voxels=100))
    header = json.loads((folder / "0" / ".zarray").read_text())
    (folder / "0" / ".zarray").write_text(json.dumps(header | {"chunks": [10**5] * 3}))
    with pytest.raises(ImageTooLargeError, match="pixels a plane"):
        read_image(folder)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"multiscales": []}, ImageError, "damaged or not one"),
        ({"plate": {}}, UnsupportedImageError, "this one is a plate"),
        ({}, UnsupportedImageError, "no image"),
        (
            {"multiscales": [{"axes": ["z", "y"], "datasets": [{"path": "0"}]}]},
            ImageError,
            "names 2 axes for an array of 3",
        ),
        (
            {"multiscales": [{"axes": ["t", "y", "x"], "datasets": [{"path": "0"}]}]},
            UnsupportedImageError,
            "one moment is needed, the file holds 5",
        ),
        (
            {"multiscales": [{"axes": ["z", "y", "x"], "datasets": [{"path": "../b"}]}]},
            ImageError,
            "damaged or not one",
        ),
    ],
)
def test_what_is_no_image_is_refused(tmp_path, change, error, words):
    folder = write_zarr(tmp_path / "a.zarr", VOLUME)
    (folder / ".zattrs").write_text(json.dumps(change))
    with pytest.raises(error, match=words):
        read_image(folder)


def test_a_scale_of_zero_is_refused(tmp_path):
    with pytest.raises(ImageError, match="spacing must be above 0 mm"):
        read_image(write_zarr(tmp_path / "a.zarr", VOLUME, scale=(0.0, 1, 1)))


def test_a_blosc_chunk_that_was_cut_short_is_refused_before_blosc_reads_beyond_it(tmp_path):
    folder = write_zarr(tmp_path / "a.zarr", VOLUME, compressors=numcodecs.Blosc())
    chunk = folder / "0" / "0.0.0"
    chunk.write_bytes(chunk.read_bytes()[:-20])
    for source in (folder, zipped_folder(folder)):
        with pytest.raises(ImageError, match="a chunk of the OME-Zarr is damaged or cut short"):
            read_image(source)


def with_axes(folder, shape, *axes):
    """An image of one resolution whose axes are told by name, type and unit."""
    group = zarr.open_group(folder, mode="w", zarr_format=2)
    group.create_array("0", shape=shape, chunks=shape, dtype=np.uint8)[...] = 7
    told = [{"name": name, **({"type": kind} if kind else {}), "unit": "micrometer"}
            for name, kind in axes]  # fmt: skip
    scale = [{"type": "scale", "scale": [float(n) for n in range(1, len(axes) + 1)]}]
    sets = [{"path": "0", "coordinateTransformations": scale}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": told, "datasets": sets}]
    return folder


SPACE = "space"


@pytest.mark.parametrize(
    ("shape", "axes", "read_shape", "spacing"),
    [
        pytest.param(
            (2, 3, 4, 5), [("channel", "channel"), ("z", SPACE), ("y", SPACE), ("x", SPACE)],
            (2, 3, 4, 5), (2e-3, 3e-3, 4e-3), id="a channel by its type",
        ),
        pytest.param(
            (2, 3, 4, 5), [("t", "channel"), ("depth", SPACE), ("height", SPACE), ("width", SPACE)],
            (2, 3, 4, 5), (2e-3, 3e-3, 4e-3), id="names are free",
        ),
        pytest.param(
            (3, 4, 5), [("x", SPACE), ("y", SPACE), ("z", SPACE)],
            (1, 5, 4, 3), (3e-3, 2e-3, 1e-3), id="names tell the order",
        ),
        pytest.param(
            (1, 3, 4, 5), [("c", "time"), ("z", SPACE), ("y", SPACE), ("x", SPACE)],
            (1, 3, 4, 5), (2e-3, 3e-3, 4e-3), id="one moment",
        ),
        pytest.param(
            (2, 3, 4, 5), [("c", None), ("z", None), ("y", None), ("x", None)],
            (2, 3, 4, 5), (2e-3, 3e-3, 4e-3), id="without types, by names",
        ),
    ],
)  # fmt: skip
def test_axes_are_known_by_their_type(tmp_path, shape, axes, read_shape, spacing):
    image = read_image(with_axes(tmp_path / "a.zarr", shape, *axes), dims=3)
    assert image.array.shape == read_shape
    assert image.spacing == pytest.approx(spacing)


@pytest.mark.parametrize("name", ["c", "channel", "t", "q"])
def test_time_never_becomes_channels(tmp_path, name):
    folder = with_axes(tmp_path / "a.zarr", (2, 4, 5), (name, "time"), ("y", SPACE), ("x", SPACE))
    with pytest.raises(UnsupportedImageError, match="one moment is needed, the file holds 2"):
        read_image(folder, dims=2)
