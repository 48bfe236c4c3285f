"""Folders and archives as exports and CDs have them."""

import io
import shutil
import zipfile

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.fileset import FileSet

from seg.errors import ImageError
from seg.images import read_image, series_in
from tests.seg.images.dicom.files import content_of, series_of, slice_of, write_series

VOLUME = np.random.default_rng(0).integers(-900, 900, (5, 4, 6)).astype(np.int16)
FIRST, SECOND = "1.2.826.0.1.401", "1.2.826.0.1.402"


def slices(uid=FIRST, volume=VOLUME, **attributes):
    affine = np.diag([0.7, 0.9, 2.5, 1.0])
    return series_of(volume, affine, SeriesInstanceUID=uid, **attributes)


def add(folder, name, dataset):
    (folder / name).write_bytes(content_of(dataset))


def localizer(uid="1.2.3.9", **attributes):
    coronal = (1, 0, 0, 0, 0, -1)
    kinds = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    return slice_of(
        VOLUME[0], orientation=coronal, SeriesInstanceUID=uid, ImageType=kinds, **attributes
    )


def zipped(folder):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder))
    return buffer.getvalue()


@pytest.fixture
def study(tmp_path):
    """Two series, a localizer, a report, a text and a picture of a screen."""
    folder = write_series(tmp_path / "study", slices())
    for number, dataset in enumerate(slices(SECOND, VOLUME + 1)):
        add(folder, f"second-{number}", dataset)
    add(folder, "localizer", localizer())
    report = slice_of(VOLUME[0], SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11")
    del report.Rows, report.Columns, report.PixelData
    add(folder, "report", report)
    (folder / "README.txt").write_text("for people")
    return folder


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_each_series_of_a_study_can_be_asked_for(study, packed):
    source = zipped(study) if packed else study
    assert series_in(source, dims=3) == (FIRST, SECOND)
    np.testing.assert_array_equal(read_image(source, dims=3, series=FIRST).array[0], VOLUME)
    found = read_image(source, dims=3, series=SECOND)
    np.testing.assert_array_equal(found.array[0], VOLUME + 1)
    assert found.notes == (
        "3 files left out: 1 of localizers, 1 that are no DICOM, 1 without an image",
    )


def test_a_series_that_is_asked_for_is_no_other_image(tmp_path):
    one = content_of(slice_of(VOLUME[0], SeriesInstanceUID=FIRST))
    assert read_image(one, dims=2, series=FIRST).array.shape == (1, 4, 6)
    with pytest.raises(ImageError, match="of another series"):
        read_image(one, dims=2, series=SECOND)
    np.save(tmp_path / "a.npy", VOLUME[0])
    for packed in (False, True):
        folder = write_series(tmp_path / "packed", [])
        (folder / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes())
        source = zipped(folder) if packed else tmp_path / "a.npy"
        with pytest.raises(ImageError, match="leave series out"):
            read_image(source, series=FIRST)


def test_several_series_of_which_none_is_named_are_listed(study):
    with pytest.raises(ImageError, match=f"name one of them: {FIRST} .5 files., {SECOND}"):
        read_image(study, dims=3)
    with pytest.raises(ImageError, match=f"no DICOM series '1.2.3' among the files; .*{FIRST}"):
        read_image(study, dims=3, series="1.2.3")


@pytest.mark.parametrize(
    ("others", "words"),
    [
        (lambda: [localizer()], "1 of localizers"),
        (lambda: [localizer(FIRST), localizer(FIRST)], "2 of localizers"),
        (
            lambda: [slice_of(VOLUME[0], orientation=(1, 0, 0, 0, 0, -1), SeriesInstanceUID=FIRST)],
            "1 of another direction",
        ),
        (
            lambda: [slice_of(VOLUME[0], SeriesInstanceUID=FIRST, ImagePositionPatient=None)],
            "1 without a position",
        ),
        (
            lambda: [
                slice_of(
                    np.zeros((9, 9, 3), np.uint8),
                    SeriesInstanceUID=FIRST,
                    SOPClassUID="1.2.840.10008.5.1.4.1.1.7",
                )
            ],
            "1 of screenshots",
        ),
        (lambda: [slice_of(VOLUME[0], SeriesInstanceUID="1.2.9")], "1 of single images"),
    ],
)
def test_what_is_no_slice_of_the_volume_is_left_out_and_counted(tmp_path, others, words):
    folder = write_series(tmp_path / "series", slices())
    datasets = others()
    for number, dataset in enumerate(datasets):
        add(folder, f"other-{number}", dataset)
    image = read_image(folder, dims=3)
    np.testing.assert_array_equal(image.array[0], VOLUME)
    (note,) = image.notes
    assert note.endswith(f"left out: {words}")


def test_a_file_that_is_there_twice_counts_once(tmp_path):
    folder = write_series(tmp_path / "series", slices())
    for number in (0, 1):
        shutil.copy(sorted(folder.iterdir())[2 * number], folder / f"copy-{number}")
    image = read_image(folder)
    np.testing.assert_array_equal(image.array[0], VOLUME)
    assert image.notes == ("2 files left out: 2 that are there twice",)


def test_slices_of_one_name_at_different_places_are_no_copies(tmp_path):
    folder = write_series(tmp_path / "series", slices(SOPInstanceUID="1.2.3"))
    image = read_image(folder)
    np.testing.assert_array_equal(image.array[0], VOLUME)
    assert not image.notes


def test_a_localizer_alone_is_an_image_as_it_was(tmp_path):
    folder = write_series(tmp_path / "scout", [localizer()])
    assert read_image(folder).array.shape == (1, 4, 6)


@pytest.mark.parametrize("asked", ["folder", "DICOMDIR"])
def test_a_cd_is_read_by_its_folder_or_its_dicomdir(tmp_path, asked):
    files = FileSet()
    for number, dataset in enumerate(slices()):
        for name in ("PatientID", "PatientName", "StudyID", "StudyDate", "StudyTime"):
            setattr(dataset, name, {"StudyDate": "20200101", "StudyTime": "1010"}.get(name, "x"))
        dataset.SeriesNumber, dataset.InstanceNumber = 1, number + 1
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        files.add(dataset)
    files.write(tmp_path / "cd")
    image = read_image(tmp_path / "cd" / ("DICOMDIR" if asked == "DICOMDIR" else ""), dims=3)
    np.testing.assert_array_equal(image.array[0], VOLUME)
    assert not image.notes
    assert series_in(tmp_path / "cd" / "DICOMDIR", dims=3) == (FIRST,)


BEGINNINGS = {
    "character set": (),
    "image type": ("SpecificCharacterSet",),
    "creation date": ("SpecificCharacterSet", "ImageType"),
    "class": ("SpecificCharacterSet", "ImageType", "InstanceCreationDate"),
    "patient": (
        *("SpecificCharacterSet", "ImageType", "InstanceCreationDate", "SOPClassUID"),
        *("SOPInstanceUID", "Modality"),
    ),
}


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("little", [True, False])
@pytest.mark.parametrize("dropped", BEGINNINGS.values(), ids=BEGINNINGS)
def test_a_file_without_preamble_is_known_whatever_tag_it_begins_with(implicit, little, dropped):
    if implicit and not little:
        pytest.skip("there is no such transfer syntax")
    dataset = slice_of(VOLUME[0], ImageType=["ORIGINAL", "PRIMARY"], PatientID="x")
    dataset.SpecificCharacterSet, dataset.InstanceCreationDate = "ISO_IR 192", "20200101"
    bare = Dataset()
    bare.update({each.tag: each for each in dataset if each.keyword not in dropped})
    if not little:
        bare.PixelData = VOLUME[0].astype(">i2").tobytes()
        bare["PixelData"].VR = "OW"
    bare.file_meta = FileMetaDataset()
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, bare, implicit_vr=implicit, little_endian=little)
    np.testing.assert_array_equal(read_image(buffer.getvalue()).array[0], VOLUME[0])


def test_a_folder_of_files_that_begin_differently_is_whole(tmp_path):
    (tmp_path / "ct").mkdir()
    for number, dataset in enumerate(slices()):
        bare = Dataset()
        dataset.SpecificCharacterSet = "ISO_IR 192"
        skipped = "SpecificCharacterSet" if number > 2 else None
        bare.update({each.tag: each for each in dataset if each.keyword != skipped})
        buffer = io.BytesIO()
        pydicom.dcmwrite(buffer, bare, implicit_vr=True, little_endian=True)
        (tmp_path / "ct" / f"{number}.dcm").write_bytes(buffer.getvalue())
    np.testing.assert_array_equal(read_image(tmp_path / "ct").array[0], VOLUME)


def test_an_archive_of_one_picture_is_that_picture(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    np.save(folder / "x.bin", VOLUME)
    (folder / "x.bin.npy").rename(folder / "picture.unknown")
    (folder / "notes.txt").write_text("for people")
    image = read_image(zipped(folder), dims=3)
    np.testing.assert_array_equal(image.array[0], VOLUME)
    assert image.notes == ("1 file left out: no images",)
    shutil.copy(folder / "picture.unknown", folder / "another")
    with pytest.raises(ImageError, match="holds 2 images; send one"):
        read_image(zipped(folder), dims=3)
