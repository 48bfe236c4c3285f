"""What lies outside of a region that was drawn is background, and no network is asked about it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile

import seg.transforms.rows
from seg.errors import ConfigError, ImageError
from seg.images import Image
from seg.images.outlines.roi import RegionOfInterest, read_roi
from seg.inference import Predictor, Selection
from seg.inference.object_files import ROWS, predict_objects_file, rows_in
from seg.model_package import ModelPackage
from seg.objects import measure_objects, measurements
from seg.predict.__main__ import main
from tests.packages import write_package

SQUARE = ((20.0, 40.0), (60.0, 40.0), (60.0, 90.0), (20.0, 90.0))
HOLE = ((30.0, 50.0), (50.0, 50.0), (50.0, 60.0), (30.0, 60.0))
FAR = ((100.0, 5.0), (118.0, 5.0), (100.0, 23.0))


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("package") / "cells"
    return ModelPackage.load(write_package(folder, objects=True))


@pytest.fixture(scope="module")
def image():
    rng = np.random.default_rng(0)
    return Image(rng.integers(0, 255, (1, 110, 130), np.uint8))


def in_region(region, shape):
    return region.rows(0, shape[0], shape[1])


def test_pixels_whose_centre_lies_in_a_polygon_and_in_no_hole_of_it_are_inside():
    inside = in_region(RegionOfInterest(((SQUARE, HOLE), (FAR,))), (110, 130))
    expected = np.zeros((110, 130), bool)
    expected[40:90, 20:60] = True
    expected[50:60, 30:50] = False
    np.testing.assert_array_equal(inside[:, :90], expected[:, :90])
    assert inside[5:23, 100:118].sum() == pytest.approx(18 * 18 / 2, rel=0.1)
    parts = [RegionOfInterest(((SQUARE, HOLE),)).rows(a, a + 11, 130) for a in range(0, 110, 11)]
    np.testing.assert_array_equal(np.concatenate(parts)[:, :90], expected[:, :90])


def test_inside_all_is_as_without_a_region_and_outside_nothing(package, image):
    region = RegionOfInterest(((SQUARE, HOLE), (FAR,)))
    inside = in_region(region, image.spatial_shape)
    whole = Predictor(package).segment(image)
    part = Predictor(package, selection=Selection(region=region)).segment(image, with_objects=True)
    agree = (part.mask.array == whole.mask.array)[inside]
    assert agree.mean() > 0.98  # windows lie elsewhere
    assert not part.mask.array[~inside].any()
    assert not part.objects.labels[~inside].any()
    assert len(part.objects) > 0


def test_windows_beyond_the_region_are_not_asked(package, image):
    small = RegionOfInterest(((((20.0, 40.0), (24.0, 40.0), (24.0, 44.0)),),))
    selection = Selection(region=small)
    counts = [
        Predictor(package, selection=s).segment(image).windows.total
        for s in (Selection(), selection)
    ]
    assert counts[1] < counts[0] / 2


def test_a_region_of_a_slide_is_that_of_the_picture(package, image, tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", image.array[0])
    predictor = Predictor(package, selection=Selection(region=RegionOfInterest(((SQUARE,),))))
    expected = predictor.objects(image)
    monkeypatch.setattr(seg.transforms.rows, "WHOLE_BYTES", 1)
    predict_objects_file(predictor, [tmp_path / "a.tif"], {tmp_path / "out.tif": "instances"})
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), expected.labels)


def test_objects_that_a_region_cuts_touch_its_border(package, image, tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", image.array[0])
    region = RegionOfInterest(((SQUARE, HOLE),))
    predictor = Predictor(package, selection=Selection(region=region))
    objects = predictor.objects(image)
    inside = np.pad(in_region(region, image.spatial_shape), 1)
    around = [np.roll(inside, step, axis)[1:-1, 1:-1] for step in (1, -1) for axis in (0, 1)]
    cut = set(np.unique(objects.labels[~np.all(around, axis=0)]).tolist()) - {0}
    assert 0 < len(cut) < len(objects)
    rows = measure_objects(objects, image)
    assert {row["label"] for row in rows if row["touches_border"]} == cut
    monkeypatch.setattr(seg.transforms.rows, "WHOLE_BYTES", 1)
    monkeypatch.setattr(measurements, "BAND", 7 * 130)
    predict_objects_file(predictor, [tmp_path / "a.tif"], {tmp_path / "rows": ROWS})
    assert {row["label"] for row in rows_in(tmp_path / "rows") if row["touches_border"]} == cut


def feature(*rings, **properties):
    return {
        "type": "Feature",
        "geometry": {
            "type": "Polygon",
            "coordinates": [[*map(list, r), list(r[0])] for r in rings],
        },
        "properties": {"objectType": "annotation", **properties},
    }


@pytest.mark.parametrize(
    "shape", ["collection", "list", "feature", "geometry", "multi", "placeless"]
)
def test_all_shapes_of_geojson_are_read(shape, tmp_path):
    one = feature(SQUARE, HOLE)
    content = {
        "collection": {"type": "FeatureCollection", "features": [one]},
        "list": [one],
        "feature": one,
        "geometry": one["geometry"],
        "placeless": [{"type": "Feature", "geometry": None, "properties": None}, one],
        "multi": {"type": "MultiPolygon", "coordinates": [one["geometry"]["coordinates"]]},
    }[shape]
    (tmp_path / "roi.geojson").write_text(json.dumps(content))
    read = read_roi(tmp_path / "roi.geojson")
    expected = in_region(RegionOfInterest(((SQUARE, HOLE),)), (110, 130))
    np.testing.assert_array_equal(in_region(read, (110, 130)), expected)


def test_a_region_in_mm_lies_where_the_image_says(package, image, tmp_path):
    small = [[(x * 0.5, y * 0.25) for x, y in ring] for ring in (SQUARE, HOLE)]
    (tmp_path / "roi.geojson").write_text(json.dumps([feature(*small, unit="mm")]))
    region = read_roi(tmp_path / "roi.geojson")
    expected = in_region(RegionOfInterest(((SQUARE, HOLE),)), (110, 130))
    np.testing.assert_array_equal(in_region(region.on((0.25, 0.5)), (110, 130)), expected)
    with pytest.raises(ImageError, match="how large a pixel is"):
        Predictor(package, selection=Selection(region=region)).predict(image)
    scaled = replace(image, spacing=(0.25, 0.5))
    found = Predictor(package, selection=Selection(region=region)).predict(scaled)
    assert found.array.any()
    assert not found.array[~expected].any()


@pytest.mark.parametrize(
    "ring",
    [
        ((10.6, 10.6), (10.8, 10.6), (10.8, 10.8)),
        ((1.0, 1.0), (90.0, 90.0), (1.0, 1.0)),
        ((-9.0, -9.0), (999.0, -9.0), (999.0, 999.0), (990.0, 999.0), (990.0, -5.0), (-9.0, -5.0)),
    ],
)
def test_a_region_without_a_pixel_is_no_image_without_objects(package, image, ring):
    selection = Selection(region=RegionOfInterest(((ring,),)))
    with pytest.raises(ImageError, match="holds no pixel"):
        Predictor(package, selection=selection).predict(image)


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"type": "Point", "coordinates": [1, 2]}', "[1]", '{"type": "Polygon"}',
     '{"type": "Polygon", "coordinates": [[[0, 0], [1, NaN], [2, 2]]]}',
     '{"type": "Feature", "properties": {"unit": "um"}, "geometry": {"type": "Polygon", '
     '"coordinates": [[[0, 0], [9, 0], [9, 9]]]}}'],
)  # fmt: skip
def test_what_is_no_region_is_one_sentence(content, tmp_path):
    (tmp_path / "roi.geojson").write_text(content)
    with pytest.raises(ConfigError, match="region"):
        read_roi(tmp_path / "roi.geojson")


def test_the_command_takes_a_region_and_says_where_it_lies_outside(
    package, image, tmp_path, capsys
):
    tifffile.imwrite(tmp_path / "a.tif", image.array[0])
    (tmp_path / "roi.geojson").write_text(json.dumps(feature(SQUARE)))
    command = [str(package.path), str(tmp_path / "a.tif"), "--out", str(tmp_path / "out")]
    command += ["--format", "instances", "--region", str(tmp_path / "roi.geojson")]
    assert main(command) == 0
    labels = tifffile.imread(tmp_path / "out" / "a.tif")
    assert labels[40:90, 20:60].any()
    labels[40:90, 20:60] = 0
    assert not labels.any()
    away = [(x + 5000, y) for x, y in SQUARE]
    (tmp_path / "roi.geojson").write_text(json.dumps(feature(away)))
    assert main(command) == 1  # and it is not taken for finished
    assert "the region lies outside of this image of 130 x 110" in capsys.readouterr().err
    with pytest.raises(ImageError, match="outside"):
        Predictor(package, selection=Selection(region=read_roi(tmp_path / "roi.geojson"))).predict(
            image
        )
