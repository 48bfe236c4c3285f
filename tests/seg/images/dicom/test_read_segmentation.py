import io
from pathlib import Path

import highdicom
import numpy as np
import pytest
from highdicom.seg import Segmentation, SegmentDescription
from pydicom.data import get_testdata_file
from pydicom.sr.codedict import codes

from seg.errors import ImageError, ImageTooLargeError, UnsupportedImageError
from seg.images import Limits, read_image, read_mask
from tests.seg.images.dicom.files import series_of, write_series
from tests.seg.images.itk.judge import ORIENTATIONS, RAS, name_of

LABELS = np.random.default_rng(0).integers(0, 3, (5, 4, 6)).astype(np.uint8)
RIGHT_HANDED = [turn for turn in ORIENTATIONS if np.linalg.det(turn) > 0]


def affine_of(rotation):
    affine = np.eye(4)
    affine[:3, :3] = rotation * (0.7, 0.9, 2.5)
    affine[:3, 3] = (-31.0, 12.5, 100.25)
    return affine


def patient(datasets):
    for dataset in datasets:
        dataset.PatientID = dataset.StudyID = dataset.AccessionNumber = "x"
        dataset.PatientName = "x^"
        dataset.PatientBirthDate = dataset.PatientSex = dataset.StudyDate = dataset.StudyTime = ""
        dataset.FrameOfReferenceUID, dataset.SliceThickness = "1.2.3", 2.5
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    return datasets


def segmentation_of(labels, affine=None, kind="BINARY", source=None):
    if source is None:
        affine = affine_of(np.eye(3)) if affine is None else affine
        source = patient(series_of(np.zeros((5, 4, 6), np.int16), affine))
    segments = [
        SegmentDescription(
            number,
            f"part {number}",
            codes.SCT.Tissue,
            codes.SCT.Tissue,
            "MANUAL",
        )
        for number in (1, 2)
    ]
    written = Segmentation(
        source,
        labels,
        kind,
        segments,
        "1.2.4",
        1,
        "1.2.5",
        1,
        "x",
        "x",
        "1",
        "1",
    )
    buffer = io.BytesIO()
    written.save_as(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("rotation", RIGHT_HANDED, ids=name_of)
def test_a_segmentation_lies_where_its_series_lies(tmp_path, rotation):
    source = patient(series_of(LABELS.astype(np.int16), affine_of(rotation)))
    mask = read_mask(segmentation_of(LABELS, source=source))
    image = read_image(write_series(tmp_path / "series", source))
    np.testing.assert_array_equal(mask.array, LABELS)
    np.testing.assert_array_equal(mask.array, image.array[0])
    np.testing.assert_allclose(mask.affine, image.affine, atol=1e-5)
    np.testing.assert_allclose(mask.spacing, image.spacing)


def test_a_label_map_is_read_as_a_binary_one():
    np.testing.assert_array_equal(read_mask(segmentation_of(LABELS, kind="LABELMAP")).array, LABELS)


def test_empty_slices_within_come_back_and_those_beyond_are_not_on_the_grid():
    labels = LABELS.copy()
    labels[[0, 2]] = 0
    mask = read_mask(segmentation_of(labels))
    np.testing.assert_array_equal(mask.array, labels[1:])
    np.testing.assert_allclose(mask.affine[:3, 3], (RAS @ (-31.0, 12.5, 102.75, 1))[:3])


def test_overlapping_segments_are_refused():
    overlapping = np.stack([LABELS > 0, LABELS > 1], axis=-1)
    with pytest.raises(ImageError, match="segments of the DICOM SEG overlap"):
        read_mask(segmentation_of(overlapping))


def test_fractions_are_refused():
    with pytest.raises(UnsupportedImageError, match="holds fractions, not a mask"):
        read_mask(segmentation_of((LABELS > 0).astype(float) / 2, kind="FRACTIONAL"))


def test_a_mask_is_no_image():
    with pytest.raises(UnsupportedImageError, match="is a segmentation, which is a mask"):
        read_image(segmentation_of(LABELS))


def test_a_gap_of_frames_is_held_to_the_limits():
    dataset = highdicom.seg.segread(io.BytesIO(segmentation_of(LABELS)))
    for group in dataset.PerFrameFunctionalGroupsSequence[-2:]:
        group.PlanePositionSequence[0].ImagePositionPatient = [-31.0, 12.5, 100.25 + 2.5e6]
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    with pytest.raises(ImageTooLargeError, match="at most 1,000,000 voxels"):
        read_mask(buffer.getvalue(), limits=Limits(max_voxels=10**6))


def test_a_segmentation_beside_its_series_is_the_mask_of_the_folder(tmp_path):
    source = patient(series_of(LABELS.astype(np.int16), affine_of(np.eye(3))))
    folder = write_series(tmp_path / "case", source)
    (folder / "seg.dcm").write_bytes(segmentation_of(LABELS, source=source))
    np.testing.assert_array_equal(read_mask(folder).array, LABELS)
    np.testing.assert_array_equal(read_image(folder).array[0], LABELS)


def test_a_segmentation_of_another_program_is_read():
    path = Path(get_testdata_file("liver_1frame.dcm"))
    mask = read_mask(path)
    assert mask.array.shape == (512, 512)
    assert set(np.unique(mask.array)) == {0, 1}
    assert read_mask(path, dims=3).array.shape == (1, 512, 512)
    with pytest.raises(ImageError, match="a 2D mask is needed, the DICOM SEG is a volume of 5"):
        read_mask(segmentation_of(LABELS), dims=2)
