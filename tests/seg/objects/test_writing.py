"""Files of objects, read by the tools that people open them with."""

import csv
import io
import json
import zipfile
from dataclasses import replace

import highdicom
import numpy as np
import pytest
import roifile
import SimpleITK
import tifffile
import zarr
from pyarrow import parquet
from pycocotools.coco import COCO
from shapely.geometry import shape
from skimage.draw import polygon2mask

from seg.errors import ImageError, UnsupportedImageError
from seg.images import ClassInfo, Image, read_image
from seg.objects import OBJECT_FORMATS, Count, Objects, encode_instances
from tests.seg.images.dicom.files import series_of, write_series
from tests.seg.images.dicom.sources import FRAME, affine_of

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


def filled(roi, shape):
    """Pixels whose centre an odd number of a region's rings goes around."""
    rings = [ring[:, ::-1] - 0.5 for ring in roi.coordinates(multi=True)]
    return np.logical_xor.reduce([polygon2mask(shape, ring) for ring in rings])


def test_imagej_s_reader_gets_every_object_with_its_holes_and_pieces(objects, tmp_path):
    objects.labels[18:26, 22] = 0
    objects.labels[26, 30] = 2  # beside a corner
    (tmp_path / "a.zip").write_bytes(encode_instances(objects, "objects-rois"))
    rois = roifile.ImagejRoi.fromfile(tmp_path / "a.zip")
    assert [roi.name for roi in rois] == [f"{n:06d}-nucleus" for n in (1, 2, 3)]
    assert [roi.composite for roi in rois] == [True, True, False]
    for number, roi in enumerate(rois, start=1):
        np.testing.assert_array_equal(filled(roi, objects.labels.shape), objects.labels == number)


def test_a_class_of_any_name_is_a_file_of_imagej_s_beside_the_others(objects, tmp_path):
    name = "../T\U0001f9a0 cells / B\n(\u03b1)"
    odd = replace(objects, kinds=(NUCLEUS.model_copy(update={"name": name}),))
    (tmp_path / "a.zip").write_bytes(encode_instances(odd, "objects-rois"))
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert not [each for each in archive.namelist() if "/" in each or "\n" in each]
    (roi, *_) = roifile.ImagejRoi.fromfile(tmp_path / "a.zip")
    assert roi.name == "000001-../T? cells / B (\u03b1)"
    assert roi.props == "class: ../T? cells / B (\u03b1)\n"


@pytest.mark.parametrize("format", ["objects-geojson", "objects-rois"])
def test_outlines_of_volumes_are_refused_in_words(volume, format):
    with pytest.raises(UnsupportedImageError, match="holds objects of 2D images, these 3D"):
        encode_instances(volume, format)


def test_an_image_of_another_size_is_refused(objects):
    with pytest.raises(ImageError, match="cannot be measured"):
        rows_of(objects, Image(np.zeros((1, 5, 5))))


@pytest.fixture
def volume():
    labels = np.zeros((3, 5, 6), np.uint32)
    labels[0, :2] = 1
    labels[1:, 2:, 1:4] = 2
    return Objects(
        labels=labels, classes=np.array([1, 1], np.uint8),
        probabilities=np.array([0.25, np.nan], np.float32), kinds=(NUCLEUS,),
        spacing=(2.0, 0.5, 0.5), affine=np.diag([0.5, 0.5, 2.0, 1.0]),
    )  # fmt: skip


@pytest.mark.parametrize("format", ["instances-nifti", "instances-nrrd", "instances-tiff"])
def test_numbers_beyond_65535_come_back_from_each_format_of_labels(volume, format, tmp_path):
    many = replace(volume, labels=volume.labels * 100_000)
    suffix = OBJECT_FORMATS[format].suffix
    (tmp_path / f"a{suffix}").write_bytes(encode_instances(many, format))
    read = read_image(tmp_path / f"a{suffix}", dims=3)
    np.testing.assert_array_equal(read.array[0], many.labels)
    np.testing.assert_allclose(read.spacing, volume.spacing)


def test_slicer_s_segmentation_names_each_object(volume, objects, tmp_path):
    (tmp_path / "a.seg.nrrd").write_bytes(encode_instances(volume, "instances-seg-nrrd"))
    read = SimpleITK.ReadImage(tmp_path / "a.seg.nrrd")
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(read), volume.labels)
    assert read.GetMetaData("Segment1_Name") == "nucleus 2"
    assert read.GetMetaData("Segment1_LabelValue") == "2"
    assert read.GetMetaData("Segment0_Color") != read.GetMetaData("Segment1_Color")
    (tmp_path / "b.seg.nrrd").write_bytes(encode_instances(objects, "instances-seg-nrrd"))
    assert SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(tmp_path / "b.seg.nrrd")).shape == (
        1,
        30,
        40,
    )


@pytest.mark.parametrize("which", ["objects", "volume"])
def test_zarr_labels_are_read_back_with_what_is_known_of_each(which, request, tmp_path):
    given = request.getfixturevalue(which)
    path = tmp_path / "a.ome.zarr.zip"
    path.write_bytes(encode_instances(given, "instances-zarr"))
    read = read_image(path, dims=given.dims)
    np.testing.assert_array_equal(read.array[0], given.labels)
    assert read.spacing == given.spacing
    told = zarr.open_group(zarr.storage.ZipStore(path), mode="r").attrs["image-label"]
    assert [each["label-value"] for each in told["colors"]] == list(range(1, len(given) + 1))
    known = round(float(given.probabilities[0]), 4)
    assert told["properties"][0] == {
        "label-value": 1, "name": "nucleus 1", "class": "nucleus", "probability": known
    }  # fmt: skip
    assert "probability" not in told["properties"][-1]
    assert encode_instances(given, "instances-zarr") == path.read_bytes()


def test_levels_of_zarr_labels_hold_no_number_that_is_no_object(objects, tmp_path):
    tall = np.zeros((1500, 700), np.uint32)
    tall[200:900, 100:600] = 70_000
    tall[900:1499, 3:680] = 3
    path = tmp_path / "a.ome.zarr.zip"
    path.write_bytes(encode_instances(replace(objects, labels=tall), "instances-zarr"))
    group = zarr.open_group(zarr.storage.ZipStore(path), mode="r")
    paths = [each["path"] for each in group.attrs["multiscales"][0]["datasets"]]
    levels = [np.asarray(group[path]) for path in paths]
    assert [level.shape for level in levels] == [(1500, 700), (750, 350), (375, 175)]
    for number, level in enumerate(levels):
        np.testing.assert_array_equal(level, tall[:: 2**number, :: 2**number])


def test_a_table_of_parquet_has_the_rows_and_types_of_the_others(objects, image):
    table = parquet.read_table(io.BytesIO(encode_instances(objects, "objects-parquet", image)))
    rows = table.to_pylist()
    expected = json.loads(encode_instances(objects, "objects", image))["objects"]
    assert rows == expected
    assert str(table.schema.field("touches_border").type) == "bool"
    assert str(table.schema.field("bbox-0").type) == "int64"
    assert json.loads(table.schema.metadata[b"objects"])["count"] == 3
    none = replace(
        objects, labels=np.zeros((4, 5), np.uint32), classes=np.zeros(0, np.uint8),
        probabilities=np.zeros(0, np.float32), counts={"nucleus": Count(0)},
    )  # fmt: skip
    empty = parquet.read_table(io.BytesIO(encode_instances(none, "objects-parquet", None)))
    assert empty.num_rows == 0
    assert "area" in empty.column_names


@pytest.mark.parametrize("count", [7, 300])
@pytest.mark.parametrize("format", ["instances-dicom-seg", "instances-dicom-labelmap"])
def test_dicom_has_a_segment_for_each_object(count, format, tmp_path):
    slices = series_of(
        np.zeros((2, 16, 16), np.int16), affine_of(np.eye(3), (0.7, 0.9, 2)), **FRAME
    )
    image = read_image(write_series(tmp_path / "series", slices))
    labels = np.zeros(image.spatial_shape, np.uint32)
    labels.reshape(-1)[:count] = np.arange(1, count + 1)
    found = Objects(
        labels=labels, classes=np.ones(count, np.uint8), probabilities=np.ones(count, np.float32),
        kinds=(NUCLEUS,), spacing=image.spacing, affine=image.affine,
    )  # fmt: skip
    content = encode_instances(found, format, image)
    read = highdicom.seg.segread(io.BytesIO(content))
    assert [each.SegmentLabel for each in read.SegmentSequence][-1] == f"nucleus {count}"
    tracked = [each.get("TrackingUID") for each in read.SegmentSequence if each.SegmentNumber]
    assert len(set(tracked)) == count
    instances = [header.SOPInstanceUID for header in image.headers]
    planes = read.get_pixels_by_source_instance(instances, combine_segments=True)
    np.testing.assert_array_equal(planes, labels)


def test_dicom_of_no_object_and_of_no_dicom_is_refused_in_words(objects, image, tmp_path):
    with pytest.raises(ImageError, match="DICOM"):
        encode_instances(objects, "instances-dicom-seg", image)
    none = replace(
        objects, labels=np.zeros((30, 40), np.uint32), classes=np.zeros(0, np.uint8),
        probabilities=np.zeros(0, np.float32),
    )  # fmt: skip
    with pytest.raises(UnsupportedImageError, match="no object was found"):
        encode_instances(none, "instances-dicom-seg", image)


def test_axes_of_a_volume_s_objects_are_those_of_its_ellipsoid_in_mm():
    spacing, radii = (2.0, 0.5, 0.5), (12.0, 4.0, 4.0)
    grid = np.stack(np.indices((17, 23, 23)), -1) * spacing - (16.0, 5.5, 5.5)
    labels = (((grid / radii) ** 2).sum(-1) <= 1).astype(np.uint32)
    labels[0, 0, 0] = 2
    found = Objects(
        labels=labels, classes=np.array([1, 1], np.uint8),
        probabilities=np.ones(2, np.float32), kinds=(NUCLEUS,), spacing=spacing,
    )  # fmt: skip
    rows = {row["label"]: row for row in rows_of(found)}
    assert float(rows["1"]["axis_major_length"]) == pytest.approx(24, rel=0.05)
    assert float(rows["1"]["axis_minor_length"]) == pytest.approx(8, rel=0.05)
    json.loads(encode_instances(found, "objects"), parse_constant=pytest.fail)  # no NaN
