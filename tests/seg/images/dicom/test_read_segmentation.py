import io
from pathlib import Path

import highdicom
import nibabel
import numpy as np
import pytest
from highdicom.seg import Segmentation, SegmentDescription
from pydicom.data import get_testdata_file
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from seg.errors import ImageError, ImageTooLargeError, UnsupportedImageError
from seg.images import ClassInfo, Limits, Mask, encode_mask, read_image, read_mask
from tests.seg.images.dicom.files import content_of, series_of, slice_of, write_series
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


def ours(image, labels):
    classes = [ClassInfo(index=i, name=str(i), color=(i, 9, 9)) for i in range(3)]
    return encode_mask(Mask.on_grid_of(image, labels), "dicom-seg", classes, image)


def tilted(volume):
    angle = np.deg2rad(15)
    affine = affine_of(np.array([[1, 0, 0], [0, np.cos(angle), 0], [0, -np.sin(angle), 1]]))
    return series_of(volume, affine)


def jittered(volume, seed=1):
    datasets = series_of(volume, affine_of(np.eye(3)))
    beside = np.random.default_rng(seed).uniform(-0.1, 0.1, len(volume)) * 2.4
    for dataset, mm in zip(datasets, beside, strict=True):
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, y, round(float(z) + mm * (mm > -0.24), 4)]
    return datasets


def rounded(volume):
    datasets = series_of(volume, affine_of(np.eye(3)) @ np.diag([1, 1, 1 / 2, 1]))
    for dataset in datasets:
        dataset.ImagePositionPatient = [round(float(mm), 1) for mm in dataset.ImagePositionPatient]
    return datasets


@pytest.mark.parametrize("scan", [tilted, jittered, rounded])
@pytest.mark.parametrize("kept", [slice(None), slice(3, 6), [2, 7, 11], [4]], ids=str)
def test_a_segmentation_of_some_slices_lies_on_its_series(tmp_path, scan, kept):
    volume = np.zeros((12, 4, 6), np.int16)
    image = read_image(write_series(tmp_path / "series", patient(scan(volume))))
    labels = np.zeros(volume.shape, np.uint8)
    labels[kept] = np.random.default_rng(0).integers(0, 3, labels[kept].shape)
    labels[kept, 0, 0] = 1
    content = ours(image, labels)
    mask = read_mask(content, image=image)
    np.testing.assert_array_equal(mask.array, labels)
    np.testing.assert_array_equal(mask.affine, image.affine)
    alone = read_mask(content, dims=3)
    shown = np.flatnonzero(labels.any(axis=(1, 2)))
    np.testing.assert_array_equal(alone.array, labels[shown[0] : shown[-1] + 1])


def test_frames_are_laid_by_position_where_they_refer_to_nothing_that_is_there(tmp_path):
    datasets = patient(jittered(np.zeros((12, 4, 6), np.int16)))
    image = read_image(write_series(tmp_path / "series", datasets))
    labels = np.zeros((12, 4, 6), np.uint8)
    labels[3:5, 1:3] = 2
    content = ours(image, labels)
    for dataset in datasets:  # an anonymiser gave new names
        dataset.SOPInstanceUID = generate_uid()
    renamed = read_image(write_series(tmp_path / "renamed", datasets))
    np.testing.assert_array_equal(read_mask(content, image=renamed).array, labels)


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PIR", "SLA"])
def test_frames_are_laid_on_a_nifti_file_of_the_series_however_it_is_turned(tmp_path, axes):
    source = read_image(
        write_series(
            tmp_path / "s", patient(series_of(LABELS.astype(np.int16), affine_of(np.eye(3))))
        )
    )
    turned = nibabel.as_closest_canonical(nibabel.Nifti1Image(LABELS.T, source.affine))
    ornt = nibabel.orientations
    turn = ornt.ornt_transform(ornt.io_orientation(turned.affine), ornt.axcodes2ornt(axes))
    turned = turned.as_reoriented(turn)
    nibabel.save(turned, tmp_path / "turned.nii.gz")
    image = read_image(tmp_path / "turned.nii.gz")
    mask = read_mask(ours(source, LABELS), image=image)
    np.testing.assert_array_equal(mask.array, image.array[0])


def test_frames_beside_the_image_are_refused(tmp_path):
    series = patient(series_of(LABELS.astype(np.int16), affine_of(np.eye(3))))
    content = ours(read_image(write_series(tmp_path / "series", series)), LABELS)
    for dataset in series:
        dataset.ImagePositionPatient = [0, 0, dataset.ImagePositionPatient[2]]
    moved = read_image(write_series(tmp_path / "moved", series))
    with pytest.raises(ImageError, match="10 of 10 frames of the DICOM SEG lie on no slice"):
        read_mask(content, image=moved)


def test_an_x_ray_s_segmentation_is_its_mask(tmp_path):
    flat = patient([slice_of(np.zeros((4, 6), np.uint16))])[0]
    del flat.ImagePositionPatient, flat.ImageOrientationPatient, flat.FrameOfReferenceUID
    image = read_image(content_of(flat))
    content = ours(image, LABELS[0])
    np.testing.assert_array_equal(read_mask(content, dims=2).array, LABELS[0])
    np.testing.assert_array_equal(read_mask(content, dims=2, image=image).array, LABELS[0])


def test_fractions_of_nothing_and_everything_are_a_mask():
    each = np.stack([LABELS == 1, LABELS == 2], axis=-1).astype(float)
    content = segmentation_of(each, kind="FRACTIONAL")
    np.testing.assert_array_equal(read_mask(content).array, LABELS)
