"""Tables and outlines of what comes band by band say what those of the whole say."""

import csv
import io
import json

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco_mask

from seg.errors import UnsupportedImageError
from seg.images import ClassInfo, Image, Mask, encode_mask, write_mask_parts
from seg.images.outlines import regions
from seg.images.writing_parts import Known

CLASSES = [ClassInfo(index=i, name=f"class {i}", color=(i, 0, 9)) for i in range(4)]
shapes = st.lists(st.integers(1, 12), min_size=2, max_size=3).map(tuple)
masks = shapes.flatmap(lambda shape: arrays.arrays(np.uint8, shape, elements=st.integers(0, 3)))
cuts = st.lists(st.integers(1, 4), max_size=12)


def streamed(tmp_path_factory, labels, cuts, format, image=None):
    path = tmp_path_factory.mktemp("streamed") / "mask"
    parts, start = [], 0
    for length in (*cuts, len(labels)):
        if start < len(labels):
            parts.append(labels[start : start + length])
            start += length
    grid = image or Image(np.zeros((1, *labels.shape), np.uint8), spacing=(0.5,) * labels.ndim)
    known = Known(classes=CLASSES, image=image, name="slide.svs")
    write_mask_parts(path, iter(parts), grid, format, known)
    return path.read_bytes()


@settings(max_examples=80, deadline=None)
@given(masks, cuts)
def test_tables_are_the_same(tmp_path_factory, labels, cuts):
    pixels = np.random.default_rng(0).integers(0, 99, (2, *labels.shape)).astype(np.uint8)
    image = Image(pixels, spacing=(0.5,) * labels.ndim)
    mask = Mask.on_grid_of(image, labels)
    whole = encode_mask(mask, "csv", CLASSES, image).decode()
    found = streamed(tmp_path_factory, labels, cuts, "csv", image).decode()
    for ours, theirs in zip(
        csv.DictReader(io.StringIO(found)), csv.DictReader(io.StringIO(whole)), strict=True
    ):
        means = {key for key in theirs if key.startswith("mean")}
        assert {k: v for k, v in ours.items() if k not in means} == {
            k: v for k, v in theirs.items() if k not in means
        }
        for key in means:
            assert (ours[key] == theirs[key] == "") or float(ours[key]) == pytest.approx(
                float(theirs[key])
            )
    assert streamed(tmp_path_factory, labels, cuts, "json") == encode_mask(mask, "json", CLASSES)


flat = masks.filter(lambda labels: labels.ndim == 2)


@settings(max_examples=80, deadline=None)
@given(flat, cuts, st.integers(1, 40), st.integers(4, 200))
def test_outlines_are_the_same(tmp_path_factory, labels, cuts, band, drawn):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seg.images.writing_parts.BAND_PIXELS", band)
        patch.setattr(regions, "AT_ONCE", drawn)
        found = json.loads(streamed(tmp_path_factory, labels, cuts, "geojson"))["features"]
        coco = json.loads(streamed(tmp_path_factory, labels, cuts, "rle"))
    whole = json.loads(encode_mask(Mask(labels), "geojson", CLASSES))["features"]
    assert sorted(map(_shape_of, found)) == sorted(map(_shape_of, whole))
    read = np.zeros_like(labels)
    for each in coco["annotations"]:
        inside = coco_mask.decode(each["segmentation"]).astype(bool)
        assert each["area"] == inside.sum()
        assert each["bbox"] == coco_mask.toBbox(each["segmentation"]).tolist()
        read[inside] = each["category_id"]
    np.testing.assert_array_equal(read, labels)
    assert len(coco["annotations"]) == len(whole)
    assert coco["images"][0]["file_name"] == "slide.svs"


def _shape_of(feature):
    polygon = shapely.from_geojson(json.dumps(feature["geometry"]))
    assert polygon.is_valid
    return feature["properties"]["index"], shapely.normalize(polygon).wkt


def test_outlines_of_a_streamed_volume_are_refused(tmp_path_factory):
    with pytest.raises(UnsupportedImageError, match="geojson of a volume of this size"):
        streamed(tmp_path_factory, np.zeros((2, 3, 4), np.uint8), [], "geojson")
