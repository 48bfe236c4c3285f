import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from pyarrow import parquet
from skimage.data import binary_blobs

import seg.images.writing_parts
import seg.inference.object_files
import seg.objects.measurements
import seg.objects.meter
from seg.images import Image, read_image, write_image
from seg.inference import Predictor, measurement_rows
from seg.inference.object_files import ROWS, predict_objects_file, rows_in
from seg.model_package import ModelPackage
from seg.objects import OBJECT_FORMATS, STREAMED_OBJECT_FORMATS, encode_instances, measure_objects
from tests.packages import write_package

SAME_NAME = ("instances", "instances-tiff", "instances-nifti")


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    folder = tmp_path_factory.mktemp("package") / "cells"
    return Predictor(ModelPackage.load(write_package(folder, objects=True)))


@pytest.fixture
def slide():
    """Blobs of two levels that touch, large beside a block."""
    rng = np.random.default_rng(3)
    inside = binary_blobs(150, blob_size_fraction=0.08, volume_fraction=0.45, rng=3)
    values = np.where(inside, rng.choice([0.55, 0.75, 0.9, 0.97], (150, 150)), 0.05)
    return Image((255 * values).astype(np.uint8)[np.newaxis, :, :131], spacing=(0.5, 0.5))


def test_objects_of_a_file_are_those_of_the_image_in_memory(
    predictor, slide, tmp_path, monkeypatch
):
    whole = predictor.objects(slide)
    rows = measure_objects(whole, slide)
    monkeypatch.setattr(seg.objects.meter, "AT_ONCE", 1)
    monkeypatch.setitem(seg.objects.meter.BLOCK, 2, 40)
    monkeypatch.setattr(seg.objects.measurements, "BAND", 131 * 20)
    monkeypatch.setattr(seg.objects.meter, "CHUNK", 131 * 33)
    write_image(tmp_path / "slide.tif", slide)
    target = tmp_path / "out" / "slide.tif"
    target.parent.mkdir()
    tables = {
        name: target.parent / f"slide{OBJECT_FORMATS[name].suffix}"
        for name in STREAMED_OBJECT_FORMATS
        if name not in SAME_NAME
    }
    targets = {target: "instances"} | {path: name for name, path in tables.items()}
    lines = target.parent / "rows"
    found = predict_objects_file(predictor, [tmp_path / "slide.tif"], targets | {lines: ROWS})
    assert len(whole) > 20
    np.testing.assert_array_equal(tifffile.imread(target), whole.labels)
    assert tifffile.imread(target).dtype == np.uint32
    assert read_image(target).spacing == pytest.approx((0.5, 0.5))
    assert found.counts == dict(whole.counts)
    ours = {row["label"]: row for row in rows_in(lines)}
    assert len(ours) == len(rows)
    for row in rows:
        for name, value in row.items():
            same = pytest.approx(value, rel=1e-4) if isinstance(value, float) else value
            assert ours[row["label"]][name] == same, name
    lines.unlink()
    assert sorted(target.parent.iterdir()) == sorted(targets)
    np.testing.assert_array_equal(read_image(tables["instances-zarr"]).array[0], whole.labels)
    whole = replace(whole, source="slide.tif")
    for name in ("objects-rois", "objects-coco"):
        expected = encode_instances(whole, name, slide)
        assert tables[name].read_bytes() == expected
    ours = parquet.read_table(tables["objects-parquet"])
    assert ours.column("label").to_pylist() == [row["label"] for row in rows]
    assert json.loads(ours.schema.metadata[b"objects"])["count"] == len(whole)
    for name in ("objects", "objects-geojson"):
        written = json.loads(tables[name].read_bytes())
        expected = json.loads(encode_instances(whole, name, slide))
        assert list(written) == list(expected)
        assert written.get("count") == expected.get("count")
        if name == "objects-geojson":
            geometries = [each["geometry"] for each in written["features"]]
            assert geometries == [each["geometry"] for each in expected["features"]]
            assert [each["id"] for each in written["features"]] == [
                each["id"] for each in expected["features"]
            ]
    table = list(csv.DictReader(tables["objects-csv"].open()))
    assert [row["label"] for row in table] == [str(row["label"]) for row in rows]


def test_objects_of_a_turned_and_sheared_volume_are_those_of_it_in_memory(tmp_path, monkeypatch):
    package = write_package(tmp_path / "p", objects=True, patch=(8, 16, 16), orientation="LPS")
    predictor = Predictor(ModelPackage.load(package))
    inside = binary_blobs(24, n_dim=3, blob_size_fraction=0.2, volume_fraction=0.4, rng=1)
    affine = np.array([[0, 0, 2, 0], [-0.5, 0.4, 0, 3], [0, 0.7, 0, 0], [0, 0, 0, 1]])
    write_image(tmp_path / "a.nii", Image(np.uint8(220 * inside)[np.newaxis, :13], affine=affine))
    volume = read_image(tmp_path / "a.nii")
    whole = replace(predictor.objects(volume), source="a.nii")
    assert (np.diff([box[0].start for box in whole.boxes()]) < 0).any(), "numbered as turned"
    monkeypatch.setattr(seg.objects.measurements, "BAND", 500)
    formats = ("objects", "objects-coco")
    predict_objects_file(
        predictor, [tmp_path / "a.nii"], {tmp_path / name: name for name in formats}
    )
    coco, rows = (encode_instances(whole, name, volume) for name in reversed(formats))
    is_same = (tmp_path / "objects-coco").read_bytes() == coco
    assert is_same  # what differs takes a minute to tell
    for ours, row in zip(
        json.loads((tmp_path / "objects").read_bytes())["objects"],
        json.loads(rows)["objects"],
        strict=True,
    ):
        assert (ours["label"], ours["bbox-0"]) == (row["label"], row["bbox-0"])
        assert ours["area"] == pytest.approx(row["area"])


def test_labels_of_a_slide_are_a_pyramid(predictor, slide, tmp_path, monkeypatch):
    monkeypatch.setattr(seg.images.writing_parts, "SMALLEST_LEVEL", 60)
    monkeypatch.setattr(seg.inference.object_files, "SLAB_VOXELS", 131 * 7)
    write_image(tmp_path / "slide.tif", slide)
    expected = predictor.objects(slide).labels
    predict_objects_file(predictor, [tmp_path / "slide.tif"], {tmp_path / "out.tif": "instances"})
    with tifffile.TiffFile(tmp_path / "out.tif") as tiff:
        (series,) = tiff.series
        levels = [level.asarray() for level in series.levels]
    assert [level.shape for level in levels] == [(150, 131), (75, 66), (38, 33)]
    for number, level in enumerate(levels):
        np.testing.assert_array_equal(level, expected[:: 2**number, :: 2**number])
    read = read_image(tmp_path / "out.tif")
    np.testing.assert_array_equal(read.array[0], expected)
    assert read.spacing == pytest.approx((0.5, 0.5))


def test_a_variant_says_of_its_objects_only_what_was_seen_of_it(tmp_path):
    card = ModelPackage.load(write_package(tmp_path / "package", objects=True)).card
    first = card.variants[0]
    other = first.model_copy(update={"name": "shallow", "blocks_dropped": ("encoder.1.0",)})
    rounded = first.model_copy(update={"name": "rounded", "precision": "tf32"})
    card = card.model_copy(update={"variants": (first, other, rounded)})
    for same in (first.name, "rounded"):
        assert card.of_variant(same).instances == card.instances
    rule, lesser = (each.instances.rules["nucleus"] for each in (card, card.of_variant("shallow")))
    assert (lesser.probability, lesser.count) == (None, None)
    assert lesser.seed == rule.seed
    together = card.model_copy(update={"ensemble": (first.name, "shallow")})
    assert together.of_variant(first.name).instances.rules["nucleus"].count is None


def test_a_table_of_classes_says_how_many_objects_there_are(predictor, slide):
    with_them = predictor.segment(slide, with_objects=True)
    rows = measurement_rows(with_them, slide)
    counts = with_them.objects.counts
    assert [int(row["objects"]) for row in rows] == [counts[row["name"]].found for row in rows]
    assert any(row["objects"] != row["components"] for row in rows), "that is another thing"
    assert "objects" not in measurement_rows(predictor.segment(slide), slide)[0]
