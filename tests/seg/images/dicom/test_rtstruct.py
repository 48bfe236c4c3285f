import io

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from skimage.draw import polygon2mask

from seg.errors import ImageError
from seg.images import ClassInfo, Image, Mask, encode_mask, read_image
from tests.seg.images.dicom.files import content_of, slice_of
from tests.seg.images.dicom.sources import (
    FRAME,
    RAS,
    SAGITTAL,
    affine_of,
    image_of,
    labels_of,
    multiframe_of,
)

turns = st.lists(st.floats(-3, 3), min_size=3, max_size=3).map(
    lambda vector: Rotation.from_rotvec(vector).as_matrix()
)


def written(mask, classes, image):
    return pydicom.dcmread(io.BytesIO(encode_mask(mask, "rtstruct", classes, image)))


def rasterised(dataset, image):
    """Labels from nothing but the contours in the patient, filled slice by slice."""
    labels = np.zeros(image.spatial_shape, int)
    to_index = np.linalg.inv(RAS @ image.affine)
    for item in dataset.ROIContourSequence:
        for contour in item.get("ContourSequence", ()):
            points = np.reshape([float(mm) for mm in contour.ContourData], (-1, 3))
            x, y, z, _ = to_index @ np.column_stack([points, np.ones(len(points))]).T
            assert len(points) == contour.NumberOfContourPoints
            np.testing.assert_allclose(z, z[0].round(), atol=1e-2)
            plane = labels[int(z[0].round())] if labels.ndim == 3 else labels
            # corners are halves, a little beside them after rounding in mm
            corners = np.column_stack([y, x]).round(1)
            plane[polygon2mask(plane.shape, corners)] += int(item.ReferencedROINumber)
    return labels


@settings(max_examples=25, deadline=None)
@given(turns, st.sampled_from([1.0, -1.0]), st.integers(0, 100))
def test_filled_contours_are_the_mask(tmp_path_factory, turn, side, seed):
    image = image_of(tmp_path_factory.mktemp("series"), turn * [1, 1, side])
    mask = Mask.on_grid_of(image, labels_of(image, seed))
    classes = [ClassInfo(index=i, name=f"class {i}", color=(i, 0, 9)) for i in range(3)]
    np.testing.assert_array_equal(rasterised(written(mask, classes, image), image), mask.array)


@pytest.mark.parametrize("side", [1.0, -1.0], ids=["ascending", "descending"])
def test_a_contour_refers_to_the_image_in_whose_plane_it_lies(tmp_path, classes, side):
    image = image_of(tmp_path / "series", SAGITTAL * [1, 1, side])
    dataset = written(Mask.on_grid_of(image, labels_of(image)), classes, image)
    headers = {header.SOPInstanceUID: header for header in image.headers}
    for item in dataset.ROIContourSequence:
        for contour in item.ContourSequence:
            (reference,) = contour.ContourImageSequence
            header = headers[reference.ReferencedSOPInstanceUID]
            assert reference.ReferencedSOPClassUID == header.SOPClassUID
            normal = np.cross(*np.reshape(header.ImageOrientationPatient, (2, 3)))
            points = np.reshape(contour.ContourData, (-1, 3)).astype(float)
            away = (points - np.array(header.ImagePositionPatient)) @ normal
            np.testing.assert_allclose(away, 0, atol=1e-3)


def test_the_structure_set_names_frame_series_classes_and_colours(tmp_path, classes):
    named = {"SpecificCharacterSet": "ISO_IR 192", "PatientName": "Yamada^Tarou=山田^太郎"}
    image = image_of(tmp_path / "series", np.eye(3), **named)
    labels = np.minimum(labels_of(image), 1)
    dataset = written(Mask.on_grid_of(image, labels), classes, image)
    assert dataset.PatientName == "Yamada^Tarou=山田^太郎"
    (frame,) = dataset.ReferencedFrameOfReferenceSequence
    assert frame.FrameOfReferenceUID == FRAME["FrameOfReferenceUID"]
    (series,) = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence
    assert [item.ReferencedSOPInstanceUID for item in series.ContourImageSequence] == [
        header.SOPInstanceUID for header in image.headers
    ]
    assert [item.ROIName for item in dataset.StructureSetROISequence] == ["nucleus", "cytoplasm"]
    nucleus, cytoplasm = dataset.ROIContourSequence
    assert cytoplasm.ROIDisplayColor == [0, 128, 255]
    assert "ContourSequence" not in cytoplasm
    assert {contour.ContourGeometricType for contour in nucleus.ContourSequence} == {
        "CLOSED_PLANAR"
    }


def test_contours_on_a_file_of_many_frames_name_the_frame(classes):
    affine = affine_of(np.eye(3), (0.7, 0.9, 2.5))
    image = read_image(content_of(multiframe_of(affine, order=[3, 0, 4, 1, 2])))
    labels = np.zeros(image.spatial_shape, np.uint8)
    labels[1, 2:4, 2:4] = 1
    dataset = written(Mask.on_grid_of(image, labels), classes, image)
    np.testing.assert_array_equal(rasterised(dataset, image), labels)
    (contour,) = dataset.ROIContourSequence[0].ContourSequence
    frame = contour.ContourImageSequence[0].ReferencedFrameNumber
    groups = image.headers[0].PerFrameFunctionalGroupsSequence
    position = groups[frame - 1].PlanePositionSequence[0].ImagePositionPatient
    assert float(contour.ContourData[2]) == pytest.approx(float(position[2]))


def test_a_contour_may_have_more_points_than_64_kilobytes_hold(classes):
    image = read_image(content_of(slice_of(np.zeros((99, 99), np.int16), **FRAME)))
    comb = np.ones((99, 99), np.uint8)
    comb[:, ::2] = comb[::2, 1:-1] = 0
    comb = 1 - comb
    mask = Mask.on_grid_of(image, comb)
    dataset = written(mask, classes, image)
    assert len(dataset.ROIContourSequence[0].ContourSequence) == 1
    assert dataset.ROIContourSequence[0].ContourSequence[0].NumberOfContourPoints > 10_000
    np.testing.assert_array_equal(rasterised(dataset, image), comb)


def test_slices_without_a_position_are_refused(classes):
    image = Image(np.zeros((1, 4, 6), np.uint8), headers=(slice_of(np.zeros((4, 6)), **FRAME),))
    with pytest.raises(ImageError, match="do not say where they were taken"):
        written(Mask(np.zeros((4, 6), np.uint8)), classes, image)
