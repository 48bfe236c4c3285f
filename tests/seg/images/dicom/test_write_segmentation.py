import io
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.uid import DigitalXRayImageStorageForPresentation
from scipy.spatial.transform import Rotation

from seg.errors import ImageError
from seg.images import ClassInfo, Image, Mask, encode_mask, read_image
from tests.seg.images.dicom.files import content_of, slice_of
from tests.seg.images.dicom.sources import (
    FRAME,
    RAS,
    SAGITTAL,
    SHAPE,
    affine_of,
    image_of,
    labels_of,
    multiframe_of,
)

turns = st.lists(st.floats(-3, 3), min_size=3, max_size=3).map(
    lambda vector: Rotation.from_rotvec(vector).as_matrix()
)
millimetres = st.integers(20, 5000).map(lambda n: n / 1000)


def written(mask, classes, image):
    return highdicom.seg.segread(io.BytesIO(encode_mask(mask, "dicom-seg", classes, image)))


def assert_lies_on(volume, mask):
    """Each voxel of highdicom's volume lies on the mask's own voxel of that position."""
    indices = np.stack([*np.indices(volume.spatial_shape).reshape(3, -1), np.ones(mask.array.size)])
    x, y, z, _ = np.linalg.inv(mask.affine) @ RAS @ volume.affine @ indices
    rounded = np.stack([z, y, x]).round().astype(int)
    np.testing.assert_allclose(np.stack([z, y, x]), rounded, atol=1e-2)
    np.testing.assert_array_equal(mask.array[tuple(rounded)], volume.array.ravel())


@settings(max_examples=25, deadline=None)
@given(turns, st.sampled_from([1.0, -1.0]), st.tuples(millimetres, millimetres, millimetres))
def test_highdicom_finds_every_voxel_at_its_position(tmp_path_factory, turn, side, spacing):
    folder = tmp_path_factory.mktemp("series")
    image = image_of(folder, turn * [1, 1, side], spacing)
    mask = Mask.on_grid_of(image, labels_of(image))
    classes = [ClassInfo(index=i, name=f"class {i}", color=(i, 0, 9)) for i in range(3)]
    assert_lies_on(written(mask, classes, image).get_volume(combine_segments=True), mask)


@pytest.mark.parametrize("turn", [np.eye(3), SAGITTAL], ids=["axial", "sagittal"])
@pytest.mark.parametrize("side", [1.0, -1.0], ids=["ascending", "descending"])
def test_each_slice_refers_to_its_own_image(tmp_path, classes, turn, side):
    image = image_of(tmp_path / "series", turn * [1, 1, side])
    mask = Mask.on_grid_of(image, labels_of(image))
    segmentation = written(mask, classes, image)
    instances = [header.SOPInstanceUID for header in image.headers]
    read = segmentation.get_pixels_by_source_instance(instances, combine_segments=True)
    np.testing.assert_array_equal(read, mask.array)
    assert segmentation.FrameOfReferenceUID == FRAME["FrameOfReferenceUID"]
    (series,) = segmentation.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == image.headers[0].SeriesInstanceUID
    referenced = {item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence}
    assert referenced == set(instances)


def test_segments_have_the_names_and_colours_of_the_classes(tmp_path, classes):
    image = image_of(tmp_path / "series", np.eye(3))
    mask = Mask.on_grid_of(image, labels_of(image))
    first, second = written(mask, classes, image).SegmentSequence
    assert (first.SegmentNumber, first.SegmentLabel) == (1, "nucleus")
    assert (second.SegmentNumber, second.SegmentLabel) == (2, "cytoplasm")
    color = highdicom.color.CIELabColor.from_dicom_value(second.RecommendedDisplayCIELabValue)
    np.testing.assert_allclose(color.to_rgb(), (0, 128, 255), atol=1)


def test_class_indices_with_gaps_become_segments_without(tmp_path, classes):
    image = image_of(tmp_path / "series", np.eye(3))
    seven = classes[2].model_copy(update={"index": 7})
    labels = labels_of(image) * np.uint8(7) // np.uint8(2)
    labels[labels == 3] = 1
    read = written(Mask.on_grid_of(image, labels), [*classes[:2], seven], image)
    volume = read.get_volume(combine_segments=True)
    assert_lies_on(volume, Mask.on_grid_of(image, np.minimum(labels, 2)))


def test_a_mask_without_foreground_is_a_segmentation_too(tmp_path, classes):
    image = image_of(tmp_path / "series", np.eye(3))
    mask = Mask.on_grid_of(image, np.zeros(SHAPE, np.uint8))
    read = written(mask, classes, image).get_volume(combine_segments=True)
    assert not read.array.any()


def test_a_mask_of_many_frames_lies_on_them_in_whatever_order_they_come(classes):
    affine = affine_of(SAGITTAL, (0.7, 0.9, 2.5))
    image = read_image(content_of(multiframe_of(affine, order=[3, 0, 4, 1, 2])))
    mask = Mask.on_grid_of(image, labels_of(image))
    read = written(mask, classes, image)
    assert_lies_on(read.get_volume(combine_segments=True), mask)
    frames = read.get_pixels_by_source_frame(
        image.headers[0].SOPInstanceUID, [1, 2, 3, 4, 5], combine_segments=True
    )
    places = [int(z) for z in (3, 0, 4, 1, 2)]
    upwards = mask.array if image.affine[0, 2] * affine[0, 2] < 0 else mask.array[::-1]
    np.testing.assert_array_equal(frames, upwards[places])


def test_a_real_slice_can_be_segmented(classes):
    image = read_image(Path(get_testdata_file("CT_small.dcm")))
    mask = Mask.on_grid_of(image, labels_of(image))
    read = written(mask, classes, image)
    np.testing.assert_array_equal(read.pixel_array, [mask.array == 1, mask.array == 2])
    position = read.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0]
    assert position.ImagePositionPatient == image.headers[0].ImagePositionPatient


def test_an_x_ray_without_a_position_can_be_segmented(classes):
    xray = slice_of(np.zeros((6, 7), np.uint16))
    xray.SOPClassUID, xray.Modality = DigitalXRayImageStorageForPresentation, "DX"
    del xray.ImagePositionPatient, xray.ImageOrientationPatient, xray.PixelSpacing
    image = read_image(content_of(xray))
    mask = Mask.on_grid_of(image, labels_of(image))
    read = written(mask, classes, image)
    np.testing.assert_array_equal(read.pixel_array, [mask.array == 1, mask.array == 2])


def test_what_an_anonymiser_left_out_is_empty(tmp_path, classes):
    image = image_of(tmp_path / "series", np.eye(3), PatientSex="UNKNOWN")
    assert "PatientID" not in image.headers[0]
    read = written(Mask.on_grid_of(image, labels_of(image)), classes, image)
    assert not read.PatientID
    assert not read.PatientSex
    assert image.headers[0].PatientSex == "UNKNOWN"


def test_a_name_in_another_script_comes_through_and_into_no_log(tmp_path, classes, caplog):
    named = {
        "SpecificCharacterSet": "ISO_IR 192",
        "PatientName": "Yamada^Tarou=山田^太郎",
        "PatientID": "x",
    }
    image = image_of(tmp_path / "series", np.eye(3), **named)
    content = encode_mask(Mask.on_grid_of(image, labels_of(image)), "dicom-seg", classes, image)
    assert pydicom.dcmread(io.BytesIO(content)).PatientName == "Yamada^Tarou=山田^太郎"
    assert not caplog.records


@pytest.mark.parametrize("format", ["dicom-seg", "rtstruct"])
def test_an_image_that_is_not_from_dicom_is_refused(format, classes):
    image = Image(np.zeros((1, *SHAPE), np.int16))
    mask = Mask.on_grid_of(image, labels_of(image))
    with pytest.raises(ImageError, match="did not come from DICOM; send the DICOM series"):
        encode_mask(mask, format, classes, image)
    with pytest.raises(ImageError, match="did not come from DICOM; send the DICOM series"):
        encode_mask(mask, format, classes)


@pytest.mark.parametrize("format", ["dicom-seg", "rtstruct"])
def test_a_source_that_cannot_be_referred_to_is_refused(tmp_path, format, classes):
    image = image_of(tmp_path / "series", np.eye(3))
    mask = Mask.on_grid_of(image, labels_of(image))
    del image.headers[2].FrameOfReferenceUID
    with pytest.raises(ImageError, match="they lack FrameOfReferenceUID"):
        encode_mask(mask, format, classes, image)


@pytest.mark.parametrize("format", ["dicom-seg", "dicom-labelmap", "rtstruct"])
@pytest.mark.parametrize(
    ("held", "written"), [("yesterday", ""), ("20200231", ""), ("2020.01.02", "20200102")]
)
def test_dates_are_mended_or_left_empty(tmp_path, classes, format, held, written):
    with pydicom.config.disable_value_validation():
        image = image_of(tmp_path / "series", np.eye(3), StudyDate=held)
    mask = Mask.on_grid_of(image, labels_of(image))
    content = encode_mask(mask, format, classes, image)
    assert pydicom.dcmread(io.BytesIO(content)).StudyDate == written


def test_a_mask_of_another_grid_is_refused(tmp_path, classes):
    image = image_of(tmp_path / "series", np.eye(3))
    with pytest.raises(ImageError, match="does not belong to an image of"):
        encode_mask(Mask(np.zeros((2, 2), np.uint8)), "dicom-seg", classes, image)
