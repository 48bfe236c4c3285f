"""Files of objects, read by the tools that people open them with."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import roifile
import tifffile
from pycocotools.coco import COCO
from shapely.geometry import shape
from skimage.draw import polygon2mask

from seg.errors import ImageError
from seg.images import ClassInfo, Image, read_image
from seg.objects import Count, Objects, encode_instances

NUCLEUS = ClassInfo(index=1, name="nucleus", color=(230, 159, 0))


@pytest.fixture
def objects():
    """A ring around nothing, and two that touch; one touches the edge."""
    labels = np.zeros((30, 40), np.uint32)
    labels[4:14, 5:15] = 1
    labels[8:10, 9:11] = 0
    labels[18:26, 20:30] = 2
    labels[18:26, 30:40] = 3
    return Objects(
        labels=labels,
        classes=np.array([1, 1, 1], np.uint8),
        probabilities=np.array([0.9, 0.5, np.nan], np.float32),
        kinds=(NUCLEUS,),
        counts={"nucleus": Count(3, (2, 5))},
        source="well.tif",
    )


@pytest.fixture
def image():
    return Image(np.arange(2 * 30 * 40, dtype=np.uint16).reshape(2, 30, 40))


def rows_of(objects, image=None):
    return list(
        csv.DictReader(io.StringIO(encode_instances(objects, "objects-csv", image).decode()))
    )


def test_labels_keep_32_bits_beyond_65535(objects):
    many = replace(objects, labels=objects.labels * 100_000)
    stored = tifffile.imread(io.BytesIO(encode_instances(many, "instances")))
    assert stored.dtype == np.uint32
    np.testing.assert_array_equal(stored, objects.labels * 100_000)


def test_a_volume_s_labels_lie_where_the_volume_lies(tmp_path):
    labels = np.zeros((3, 5, 6), np.uint32)
    labels[1, 2, 3] = 70_000
    affine = np.diag([0.5, 0.5, 2.0, 1.0])
    volume = Objects(
        labels=labels, classes=np.ones(1, np.uint8), probabilities=np.ones(1, np.float32),
        kinds=(NUCLEUS,), spacing=(2.0, 0.5, 0.5), affine=affine,
    )  # fmt: skip
    (tmp_path / "a.nii.gz").write_bytes(encode_instances(volume, "instances"))
    read = read_image(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read.array[0], labels)
    np.testing.assert_allclose(read.affine, affine)


def test_what_is_measured_is_what_a_person_counts(objects, image):
    first, second, third = rows_of(objects, image)
    assert float(first["area"]) == float(first["num_pixels"]) == 96
    assert [first[f"bbox-{n}"] for n in range(4)] == ["4", "5", "14", "15"]
    assert float(second["centroid-0"]) == 21.5
    assert float(second["centroid-1"]) == 24.5
    inside = image.array[1][objects.labels == 2]
    assert float(second["intensity_mean-1"]) == pytest.approx(inside.mean(), rel=1e-5)
    assert float(second["intensity_std-1"]) == pytest.approx(inside.std(), rel=1e-5)
    assert float(second["intensity_total-1"]) == pytest.approx(inside.sum(), rel=1e-5)
    assert [row["neighbors"] for row in (first, second, third)] == ["0", "1", "1"]
    assert [row["touches_border"] for row in (first, second, third)] == ["False", "False", "True"]
    assert (first["probability"], third["probability"]) == ("0.9", "")


def test_areas_are_in_mm_where_the_spacing_is_known(objects):
    row = rows_of(replace(objects, spacing=(0.5, 0.25)))[1]
    assert float(row["area"]) == pytest.approx(80 * 0.125)
    assert row["unit"] == "mm"
    assert float(row["centroid-1"]) == 24.5


def test_no_object_is_a_table_without_rows(objects):
    none = Objects(
        labels=np.zeros((4, 4), np.uint32), classes=np.zeros(0, np.uint8),
        probabilities=np.zeros(0, np.float32), kinds=(NUCLEUS,), counts={"nucleus": Count(0)},
    )  # fmt: skip
    text = encode_instances(none, "objects-csv").decode()
    assert text.startswith("label,class,probability,area,")
    assert text.count("\n") == 1
    assert json.loads(encode_instances(none, "objects"))["count"] == 0


def test_pycocotools_reads_each_object_and_its_image(objects, tmp_path):
    (tmp_path / "a.json").write_bytes(encode_instances(objects, "objects-coco"))
    coco = COCO(str(tmp_path / "a.json"))
    assert coco.imgs[1]["file_name"] == "well.tif"
    assert len(coco.anns) == 3
    for annotation in coco.anns.values():
        np.testing.assert_array_equal(
            coco.annToMask(annotation), objects.labels == annotation["object"]
        )
    assert coco.anns[1]["score"] == 0.9
    assert "score" not in coco.anns[3]


def test_geojson_has_what_qupath_reads_in_pixels(objects):
    text = encode_instances(replace(objects, spacing=(0.001, 0.001)), "objects-geojson")
    features = json.loads(text)["features"]
    assert len(features) == 3
    assert len({feature["id"] for feature in features}) == 3
    for number, feature in enumerate(features, start=1):
        properties = feature["properties"]
        assert properties["objectType"] == "detection"
        assert properties["classification"] == {"name": "nucleus", "color": [230, 159, 0]}
        assert all(isinstance(value, float) for value in properties["measurements"].values())
        polygon = shape(feature["geometry"])
        assert polygon.is_valid
        assert polygon.area == (objects.labels == number).sum()


def test_imagej_s_reader_gets_every_object_but_its_holes(objects, tmp_path):
    (tmp_path / "a.zip").write_bytes(encode_instances(objects, "objects-rois"))
    rois = roifile.ImagejRoi.fromfile(tmp_path / "a.zip")
    assert [roi.name for roi in rois] == [f"{n:06d}-nucleus" for n in (1, 2, 3)]
    for number, roi in enumerate(rois, start=1):
        ring = roi.coordinates()[:, ::-1] - 0.5  # corners of pixels to centres
        filled = polygon2mask(objects.labels.shape, ring)
        assert (filled & (objects.labels == number)).sum() == (objects.labels == number).sum()


def test_an_image_of_another_size_is_refused(objects):
    with pytest.raises(ImageError, match="cannot be measured"):
        rows_of(objects, Image(np.zeros((1, 5, 5))))
