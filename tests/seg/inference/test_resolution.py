"""Pictures segmented at a wished resolution: which level is read, what lies where."""

import json

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage
from shapely.geometry import shape

import seg.predict.work
import seg.transforms.resolution
import seg.transforms.rows
from seg.errors import ImageError, ImageTooLargeError
from seg.images import Image, read_image
from seg.inference.resolution import open_at
from seg.predict.__main__ import main
from seg.transforms import at_resolution
from seg.transforms.resolution import in_memory
from tests.instances import cells
from tests.packages import write_package

UM = 0.001
METADATA = {"axes": "YX", "PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}


def picture(seed, height, width, channels=2):
    rng = np.random.default_rng(seed)
    array = rng.integers(0, 65535, (channels, height, width)).astype(np.uint16)
    return Image(array, spacing=(0.25 * UM, 0.25 * UM))


@settings(max_examples=25, deadline=None)
@example(1, (42, 42), 0.07, 1, 0.0, 0.0)  # a half that is rounded up and down
@given(
    seed=st.integers(0, 99),
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    mpp=st.floats(0.07, 9),
    part=st.integers(1, 3000),
    top=st.floats(0, 1),
    left=st.floats(0, 1),
)
def test_a_part_of_a_picture_is_that_of_the_whole(seed, size, mpp, part, top, left):
    source = at_resolution(picture(seed, *size), mpp * UM)
    height, width = source.spatial_shape
    whole = source.read((slice(0, height), slice(0, width)))
    y, x = int(top * (height - 1)), int(left * (width - 1))
    before = seg.transforms.resolution.PART
    seg.transforms.resolution.PART = part
    try:
        found = source.read((slice(y, height), slice(x, width)))
    finally:
        seg.transforms.resolution.PART = before
    # sums in 32 bits differ by parts of a level, which a half is rounded up or down by
    assert np.abs(found.astype(int) - whole[:, y:, x:].astype(int)).max() <= 1


def test_a_coarser_pixel_is_the_mean_of_what_it_covers_by_area():
    image = picture(0, 40, 60)
    half = in_memory(at_resolution(image, 0.5 * UM))
    expected = image.array.reshape(2, 20, 2, 30, 2).mean(axis=(2, 4))
    np.testing.assert_array_equal(half.array, np.rint(expected))
    assert half.spacing == pytest.approx((0.5 * UM, 0.5 * UM))
    assert half.reduction == (2, 2)
    odd = at_resolution(image, 0.4 * UM)
    assert odd.spatial_shape == (25, 38)
    assert odd.spacing == pytest.approx((0.4 * UM, 0.25 * 60 / 38 * UM))
    first = image.array[:, :2, :2].astype(float)
    weights = np.outer([1, 0.6], [1, 60 / 38 - 1])
    expected = (first * weights).sum(axis=(1, 2)) / weights.sum()
    np.testing.assert_allclose(odd.read((slice(0, 1), slice(0, 1)))[:, 0, 0], expected, atol=0.5)


def test_what_has_the_wished_pixels_stays_as_it_is_and_no_detail_is_made_up():
    image = picture(0, 8, 9)
    assert at_resolution(image, 0.2501 * UM) is image
    assert at_resolution(image, 0.125 * UM).spatial_shape == (16, 18)
    with pytest.raises(ImageError, match="made up"):
        at_resolution(image, 0.01 * UM)
    with pytest.raises(ImageError, match="how large a pixel is"):
        at_resolution(Image(image.array), 0.5 * UM)


def pyramid(path, levels, um=0.25):
    with tifffile.TiffWriter(path, ome=True) as tiff:
        for number, level in enumerate(levels):
            about = {**METADATA, "PhysicalSizeX": um, "PhysicalSizeY": um}
            role = {"metadata": about, "subifds": len(levels) - 1}
            tiff.write(level, tile=(16, 16), **(role if number == 0 else {"subfiletype": 1}))


@pytest.mark.parametrize(
    ("mpp", "level", "reduction"),
    [(0.25, 0, None), (0.4, 0, 1.6), (0.5, 1, 2), (1.0, 2, 4), (1.1, 2, 4.4)],
)
def test_of_a_pyramid_the_coarsest_level_is_read_that_is_fine_enough(
    tmp_path, mpp, level, reduction
):
    levels = [np.full((176 // 2**n, 352 // 2**n), 50 * n + 20, np.uint8) for n in range(3)]
    pyramid(tmp_path / "a.ome.tif", levels)
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    told = []
    for number, pixels in enumerate(levels):
        group.create_array(str(number), data=pixels)
        scale = {"type": "scale", "scale": [0.25 * 2**number] * 2}
        told.append({"path": str(number), "coordinateTransformations": [scale]})
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": told}]
    for name in ("a.ome.tif", "a.zarr"):
        with open_at([tmp_path / name], dims=2, mpp=mpp) as source:
            read = in_memory(source)
        assert set(np.unique(read.array)) == {50 * level + 20}, name
        assert read.spatial_shape == (round(176 * 0.25 / mpp), round(352 * 0.25 / mpp))
        if reduction is None:
            assert read.reduction is None
        else:
            assert read.reduction == pytest.approx((reduction, reduction), rel=0.02)
        assert read.spacing == pytest.approx((mpp * UM, mpp * UM), rel=0.02)


@pytest.mark.parametrize("in_file", [False, True])
def test_the_command_segments_at_a_wished_resolution(tmp_path, monkeypatch, in_file):
    image, _ = cells(0)
    fine = np.kron(image, np.ones((2, 2), np.uint8))
    package = str(write_package(tmp_path / "package", objects=True))
    about = {**METADATA, "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}
    tifffile.imwrite(tmp_path / "a.ome.tif", fine, ome=True, metadata=about)
    about = {**METADATA, "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite(tmp_path / "b.ome.tif", image, ome=True, metadata=about)
    square = [[16, 16], [150, 16], [150, 120], [16, 120], [16, 16]]
    for name, scale in (("a", 1), ("b", 2)):
        ring = [[x / scale, y / scale] for x, y in square]
        roi = {"type": "Polygon", "coordinates": [ring]}
        (tmp_path / f"{name}.geojson").write_text(json.dumps(roi))
    if in_file:

        def never(*_, **__):
            raise ImageTooLargeError("too large")

        monkeypatch.setattr(seg.predict.work, "in_memory", never)
        monkeypatch.setattr(seg.predict.work, "read_channels", never)
        monkeypatch.setattr(seg.transforms.rows, "WHOLE_BYTES", 1)
    for name, more in (("a", ["--mpp", "0.5"]), ("b", [])):
        command = [package, str(tmp_path / f"{name}.ome.tif"), "--out", str(tmp_path / name)]
        formats = "instances,objects-csv,objects-geojson"
        region = ["--region", str(tmp_path / f"{name}.geojson")]
        assert main([*command, "--format", formats, *region, *more]) == 0
    labels = tifffile.imread(tmp_path / "a" / "a.tif")
    np.testing.assert_array_equal(labels, tifffile.imread(tmp_path / "b" / "b.tif"))
    assert labels.any()
    assert read_image(tmp_path / "a" / "a.tif").spacing == pytest.approx((0.5 * UM, 0.5 * UM))
    tables = [(tmp_path / n / f"{n}.objects.csv").read_text() for n in "ab"]
    assert tables[0] == tables[1]
    features = json.loads((tmp_path / "a" / "a.objects.geojson").read_text())["features"]
    sizes = ndimage.sum_labels(labels > 0, labels, range(1, labels.max() + 1))
    areas = [shape(feature["geometry"]).area for feature in features]
    np.testing.assert_allclose(areas, 4 * sizes)  # in pixels of the file
    x, y = shape(features[0]["geometry"]).centroid.coords[0]
    assert 16 <= x <= 150
    assert 16 <= y <= 120


def test_polygons_of_a_mask_are_in_pixels_of_the_file(tmp_path):
    package = str(write_package(tmp_path / "package"))
    image = np.zeros((60, 80), np.uint8)
    image[20:40, 30:60] = 250
    about = {**METADATA, "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}
    tifffile.imwrite(tmp_path / "a.ome.tif", image, ome=True, metadata=about)
    command = [package, str(tmp_path / "a.ome.tif"), "--out", str(tmp_path), "--mpp", "0.5"]
    assert main([*command, "--format", "geojson,geojson-mm"]) == 0
    features = json.loads((tmp_path / "a.geojson").read_text())["features"]
    nucleus = [each for each in features if each["properties"]["index"] == 2]
    assert shape(nucleus[0]["geometry"]).bounds == pytest.approx((30, 20, 60, 40), abs=4)
    assert (
        shape(nucleus[0]["geometry"]).area == nucleus[0]["properties"]["measurements"]["Area px^2"]
    )


def test_a_resolution_of_volumes_is_refused(tmp_path, capsys):
    package = str(write_package(tmp_path / "package", patch=(8, 16, 16)))
    (tmp_path / "a.nii").touch()
    assert main([package, str(tmp_path / "a.nii"), "--out", str(tmp_path), "--mpp", "1"]) == 2
    assert "--mpp is of pictures" in capsys.readouterr().err
