import numpy as np
import pytest
from highdicom.legacy import LegacyConvertedEnhancedCTImage

from seg.errors import ImageError, UnsupportedImageError
from seg.images import read_image
from tests.seg.images.dicom.files import content_of, series_of, slice_of, write_series
from tests.seg.images.itk.judge import ORIENTATIONS, name_of

VOLUME = np.random.default_rng(0).integers(-900, 900, (5, 4, 6)).astype(np.int16)
RIGHT_HANDED = [turn for turn in ORIENTATIONS if np.linalg.det(turn) > 0]


def slices_on(rotation, **attributes):
    affine = np.eye(4)
    affine[:3, :3] = rotation * (0.7, 0.9, 2.5)
    affine[:3, 3] = (-31.0, 12.5, 100.25)
    slices = series_of(VOLUME, affine, **attributes)
    for number, dataset in enumerate(slices):
        dataset.PatientName = "x^"
        dataset.PatientID = dataset.StudyID = dataset.AccessionNumber = "x"
        dataset.PatientBirthDate = dataset.PatientSex = dataset.StudyDate = dataset.StudyTime = ""
        dataset.FrameOfReferenceUID, dataset.SliceThickness = "1.2.3", 2.5
        dataset.InstanceNumber, dataset.SeriesNumber = number + 1, 1
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.AcquisitionNumber, dataset.KVP = 1, 120
        dataset.AcquisitionDate, dataset.AcquisitionTime = "20200101", "120000"
        dataset.ContentDate, dataset.ContentTime = "20200101", "120000"
        dataset.PositionReferenceIndicator = ""
    return slices


def enhanced(slices):
    return LegacyConvertedEnhancedCTImage(slices, "1.2.4", 1, "1.2.5", 1)


@pytest.mark.parametrize("rotation", RIGHT_HANDED[::4], ids=name_of)
def test_a_multi_frame_ct_is_the_series_that_it_was_made_of(tmp_path, rotation):
    slices = slices_on(rotation, RescaleIntercept=-1024, RescaleSlope=1)
    series = read_image(write_series(tmp_path / "series", slices))
    shuffled = [slices[i] for i in (3, 0, 4, 1, 2)]
    image = read_image(content_of(enhanced(shuffled)), dims=3)
    np.testing.assert_array_equal(image.array, series.array)
    np.testing.assert_allclose(image.affine, series.affine, atol=1e-5)
    assert image.spacing == pytest.approx(series.spacing)
    assert len(image.headers) == 1


def test_a_folder_of_one_multi_frame_file_is_its_volume(tmp_path):
    folder = write_series(tmp_path / "one", [enhanced(slices_on(np.eye(3)))])
    np.testing.assert_array_equal(read_image(folder, dims=3).array[0], VOLUME)


def test_several_multi_frame_files_are_several_volumes(tmp_path):
    files = [enhanced(slices_on(np.eye(3))) for _ in range(2)]
    files[1].SOPInstanceUID = "1.2.6"
    with pytest.raises(ImageError, match="2 DICOM files with several frames each"):
        read_image(write_series(tmp_path / "two", files))


def test_frames_of_two_moments_are_refused():
    slices = slices_on(np.eye(3))
    for dataset in slices[3:]:
        dataset.ImagePositionPatient = slices[0].ImagePositionPatient
    with pytest.raises(ImageError, match="lie where another one lies: several moments"):
        read_image(content_of(enhanced(slices)))


@pytest.mark.parametrize("frames", [2, 6])
def test_frames_that_are_lost_or_not_described_are_told(frames):
    dataset = enhanced(slices_on(np.eye(3)))
    dataset.NumberOfFrames = frames
    with pytest.raises(ImageError, match=f"announces {frames} frames and describes 5"):
        read_image(content_of(dataset))


def test_frames_that_say_nothing_are_a_volume_without_position():
    frames = np.random.default_rng(1).integers(0, 9, (3, 4, 6)).astype(np.uint8)
    dataset = slice_of(frames[0], NumberOfFrames=3, PixelData=frames.tobytes())
    del dataset.ImagePositionPatient, dataset.ImageOrientationPatient
    image = read_image(content_of(dataset))
    np.testing.assert_array_equal(image.array[0], frames)
    assert (image.spacing, image.affine) == (None, None)
    dataset.SpacingBetweenSlices = 3
    assert read_image(content_of(dataset)).spacing == (3.0, 1.0, 1.0)


def test_a_whole_slide_in_tiles_is_refused():
    dataset = slice_of(VOLUME[0], TotalPixelMatrixRows=4, TotalPixelMatrixColumns=6)
    with pytest.raises(UnsupportedImageError, match="whole slide in tiles; convert it"):
        read_image(content_of(dataset))


def test_detector_spacing_is_divided_by_the_magnification():
    dataset = slice_of(VOLUME[0], ImagerPixelSpacing=[0.4, 0.2])
    del dataset.PixelSpacing
    assert read_image(content_of(dataset)).spacing == (0.4, 0.2)
    dataset.EstimatedRadiographicMagnificationFactor = 2
    image = read_image(content_of(dataset))
    assert image.spacing == (0.2, 0.1)
