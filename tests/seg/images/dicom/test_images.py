import io
import zipfile
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.data import get_testdata_file

from seg.errors import ImageError, ImageTooLargeError, UnsupportedImageError
from seg.images import Limits, read_channels, read_image, read_mask
from tests.seg.images.dicom.files import content_of, series_of, slice_of, write_series

RAS = np.diag([-1.0, -1, 1, 1])
VOLUME = np.random.default_rng(0).integers(-900, 900, (5, 4, 6)).astype(np.int16)
PLANE = np.arange(24, dtype=np.uint16).reshape(4, 6)

ROTATIONS = [
    np.array([np.eye(3)[axis] * sign for axis, sign in zip(order, signs, strict=True)])
    for order in permutations(range(3))
    for signs in product((1, -1), repeat=3)
]


def affine_of(rotation, spacing=(0.7, 0.9, 2.5), origin=(-31.0, 12.5, 100.25)):
    affine = np.eye(4)
    affine[:3, :3] = rotation * spacing
    affine[:3, 3] = origin
    return affine


def as_itk_reads(folder):
    """Array (z, y, x) and the affine to LPS, by the judge."""
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return array_and_affine(reader.Execute())


def array_and_affine(image):
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return SimpleITK.GetArrayFromImage(image), affine


@pytest.mark.parametrize("rotation", ROTATIONS, ids=lambda r: "".join(map(str, r.argmax(0))))
def test_a_series_lies_where_itk_sees_it_in_every_orientation(tmp_path, rotation):
    folder = write_series(tmp_path / "series", series_of(VOLUME, affine_of(rotation)))
    array, affine = as_itk_reads(folder)
    image = read_image(folder)
    np.testing.assert_array_equal(image.array[0], array)
    np.testing.assert_allclose(image.affine, RAS @ affine, atol=1e-4)
    np.testing.assert_allclose(image.spacing, (2.5, 0.9, 0.7))


def test_an_oblique_series_lies_where_itk_sees_it(tmp_path):
    turn = SimpleITK.Euler3DTransform((0, 0, 0), 0.3, -0.2, 0.5).GetMatrix()
    affine = affine_of(np.reshape(turn, (3, 3)))
    folder = write_series(tmp_path / "series", series_of(VOLUME, affine))
    image = read_image(folder)
    np.testing.assert_allclose(image.affine, RAS @ as_itk_reads(folder)[1], atol=1e-4)
    np.testing.assert_array_equal(image.array[0], VOLUME)


def test_slices_are_sorted_by_where_they_lie_and_headers_go_with_them(tmp_path):
    datasets = series_of(VOLUME, affine_of(np.eye(3)))
    for number, dataset in enumerate(datasets):
        dataset.InstanceNumber = 100 - number
    image = read_image(write_series(tmp_path / "series", datasets[::-1]))
    np.testing.assert_array_equal(image.array[0], VOLUME)
    assert [h.SOPInstanceUID for h in image.headers] == [d.SOPInstanceUID for d in datasets]
    assert not any("PixelData" in header for header in image.headers)


def test_a_tilted_gantry_shears_the_affine(tmp_path):
    affine = affine_of(np.eye(3))
    datasets = series_of(VOLUME, affine)
    for z, dataset in enumerate(datasets):
        dataset.ImagePositionPatient = [-31.0, 12.5 + 0.5 * z, 100.25 + 2.5 * z]
    image = read_image(write_series(tmp_path / "series", datasets))
    np.testing.assert_allclose(image.affine[:3, 2], (0, -0.5, 2.5))
    assert image.spacing[0] == pytest.approx(np.hypot(0.5, 2.5))
    for z, dataset in enumerate(datasets):
        corner = image.affine @ (0, 0, z, 1)
        np.testing.assert_allclose((RAS @ corner)[:3], dataset.ImagePositionPatient)


def test_a_zipped_series_is_the_series(tmp_path):
    folder = write_series(tmp_path / "series", series_of(VOLUME, affine_of(np.eye(3))))
    archive = zipped({f"a/{path.name}": path.read_bytes() for path in folder.iterdir()})
    image = read_image(archive, dims=3)
    np.testing.assert_array_equal(image.array, read_image(folder).array)
    np.testing.assert_array_equal(image.affine, read_image(folder).affine)


def test_channels_of_several_series_keep_the_headers_of_the_first(tmp_path):
    one = write_series(tmp_path / "t1", series_of(VOLUME, affine_of(np.eye(3))))
    two = write_series(tmp_path / "t2", series_of(VOLUME + 1, affine_of(np.eye(3))))
    image = read_channels([one, two], dims=3)
    np.testing.assert_array_equal(image.array, [VOLUME, VOLUME + 1])
    uids = [header.SOPInstanceUID for header in image.headers]
    assert uids == [header.SOPInstanceUID for header in read_image(one).headers]


def test_what_is_no_image_is_passed_over_in_a_folder(tmp_path):
    folder = write_series(tmp_path / "series", series_of(VOLUME, affine_of(np.eye(3))))
    (folder / "README.txt").write_text("a note")
    (folder / ".DS_Store").write_bytes(b"\0")
    for name in ("rtstruct.dcm", "liver_1frame.dcm"):
        (folder / name).write_bytes(Path(get_testdata_file(name)).read_bytes())
    np.testing.assert_array_equal(read_image(folder).array[0], VOLUME)


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def without(datasets, *indices):
    return [dataset for i, dataset in enumerate(datasets) if i not in indices]


def changed(datasets, index, **attributes):
    for name, value in attributes.items():
        setattr(datasets[index], name, value)
    return datasets


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda slices: without(slices, 2),
            "lacks slices: 5 mm lie between slices 2 and 3 and 2.5 mm between others, so about 1",
        ),
        (
            lambda slices: [*slices, slice_of(VOLUME[0], slices[0].ImagePositionPatient)],
            "pixel spacing",
        ),
        (
            lambda slices: changed(slices, 1, ImagePositionPatient=slices[0].ImagePositionPatient),
            "1 DICOM slices lie where another one lies",
        ),
        (lambda slices: changed(slices, 3, Rows=2), "differ in size: 4 of 4 x 6, 1 of 2 x 6"),
        (
            lambda slices: changed(slices, 3, ImageOrientationPatient=[1, 0, 0, 0, 0, -1]),
            "lacks slices.*; 1 file left out: 1 of another direction",
        ),
        (
            lambda slices: changed(slices, 3, SeriesInstanceUID="1.2.3"),
            "lacks slices.*; 1 file left out: 1 of single images",
        ),
        (
            lambda slices: changed(slices, 3, ImagePositionPatient=[-31, 14.5, 107.75]),
            "not evenly spaced, one lies 2 mm beside",
        ),
        (lambda slices: changed(slices, 3, PixelSpacing=[-1, 1]), "must be above 0 mm"),
        (
            lambda slices: changed(slices, 3, RescaleSlope="1e999"),
            "slope or intercept is not finite",
        ),
        (
            lambda slices: changed(slices, 3, ImageOrientationPatient=[1, 0, 0, 1, 0, 0]),
            "two unit vectors at a right angle",
        ),
        (
            lambda slices: changed(slices, 3, ImagePositionPatient=None),
            "lacks slices.*; 1 file left out: 1 without a position",
        ),
        (
            lambda slices: [changed([each], 0, PixelSpacing=None)[0] for each in slices],
            "do not say where they lie",
        ),
    ],
)
def test_slices_that_are_no_volume_are_refused_with_what_is_wrong(tmp_path, change, words):
    slices = change(series_of(VOLUME, affine_of(np.eye(3))))
    with pytest.raises(ImageError, match=words):
        read_image(write_series(tmp_path / "series", slices))


def test_a_folder_without_an_image_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(ImageError, match="no DICOM image among the files"):
        read_image(tmp_path)


def test_one_slice_is_flat_and_no_volume(tmp_path):
    content = content_of(slice_of(PLANE, (1, 2, 3), spacing=(0.5, 0.25), SliceThickness=4))
    image = read_image(content)
    np.testing.assert_array_equal(image.array, PLANE[None])
    assert image.spacing == (0.5, 0.25)
    np.testing.assert_allclose(
        image.affine, RAS @ [[0.25, 0, 0, 1], [0, 0.5, 0, 2], [0, 0, 4, 3], [0, 0, 0, 1]]
    )
    assert len(image.headers) == 1
    with pytest.raises(ImageError, match="this DICOM file is one slice; send the whole series"):
        read_image(content, dims=3)


def test_a_series_is_no_2d_image(tmp_path):
    folder = write_series(tmp_path / "series", series_of(VOLUME, affine_of(np.eye(3))))
    with pytest.raises(ImageError, match="this is a DICOM series of 5 slices; send one slice"):
        read_image(folder, dims=2)


@pytest.mark.parametrize(
    ("slope", "intercept", "dtype"),
    [(1, 0, np.int16), (1, -1024, np.int32), (0.5, -3, np.float32)],
)
def test_slope_and_intercept_are_applied(slope, intercept, dtype):
    content = content_of(slice_of(VOLUME[0], RescaleSlope=slope, RescaleIntercept=intercept))
    image = read_image(content)
    assert image.array.dtype == dtype
    np.testing.assert_allclose(image.array[0], VOLUME[0] * slope + intercept)


def test_twelve_bits_with_an_intercept_stay_sixteen_bits():
    image = read_image(content_of(slice_of(PLANE, BitsStored=12, RescaleIntercept=-1024)))
    assert image.array.dtype == np.int16
    np.testing.assert_array_equal(image.array[0], PLANE.astype(int) - 1024)


def test_each_slice_has_its_own_slope(tmp_path):
    slices = series_of(VOLUME, affine_of(np.eye(3)))
    for z, dataset in enumerate(slices):
        dataset.RescaleSlope = 1 + z
    image = read_image(write_series(tmp_path / "series", slices))
    np.testing.assert_allclose(image.array[0], VOLUME * (1 + np.arange(5))[:, None, None])


def test_white_is_turned_to_black_unless_it_is_measured():
    inverted = {"PhotometricInterpretation": "MONOCHROME1", "BitsStored": 10}
    picture = read_image(content_of(slice_of(PLANE, Modality="DX", **inverted)))
    np.testing.assert_array_equal(picture.array[0], 1023 - PLANE)
    measured = read_image(content_of(slice_of(PLANE, Modality="CT", **inverted)))
    np.testing.assert_array_equal(measured.array[0], PLANE)


def test_colour_is_three_channels():
    color = np.random.default_rng(1).integers(0, 255, (4, 6, 3)).astype(np.uint8)
    image = read_image(content_of(slice_of(color)))
    np.testing.assert_array_equal(image.array, np.moveaxis(color, -1, 0))


@pytest.mark.parametrize(
    "name",
    [
        "MR_small_RLE.dcm",
        "MR_small_jp2klossless.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_implicit.dcm",
        "MR_small_expb.dcm",
    ],
)
def test_every_compression_gives_the_same_pixels(name):
    image = read_image(Path(get_testdata_file(name)))
    plain = read_image(Path(get_testdata_file("MR_small.dcm")))
    np.testing.assert_array_equal(image.array, plain.array)
    np.testing.assert_array_equal(image.affine, plain.affine)


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "693_J2KI.dcm"])
def test_a_file_is_what_itk_reads(name):
    path = Path(get_testdata_file(name))
    image = read_image(path)
    array, affine = array_and_affine(SimpleITK.ReadImage(str(path)))
    np.testing.assert_array_equal(image.array, array)
    np.testing.assert_allclose(image.affine[:, [0, 1, 3]], (RAS @ affine)[:, [0, 1, 3]], atol=1e-4)


def test_frames_of_a_dose_are_a_volume_on_its_offsets():
    path = Path(get_testdata_file("rtdose.dcm"))
    image = read_image(path, dims=3)
    dataset = pydicom.dcmread(path)
    stored = dataset.pixel_array * float(dataset.DoseGridScaling)
    np.testing.assert_allclose(image.array[0], stored)
    assert image.spacing == (5.0, 10.0, 10.0)
    assert len(image.headers) == 1
    with pytest.raises(ImageError, match="has 15 frames; send one of them"):
        read_image(path, dims=2)


def test_frames_in_time_are_refused():
    with pytest.raises(
        UnsupportedImageError, match="one moment is needed, the DICOM file holds 30"
    ):
        read_image(Path(get_testdata_file("examples_ybr_color.dcm")))


def test_a_file_without_pixels_is_refused():
    with pytest.raises(ImageError, match="holds no image"):
        read_image(Path(get_testdata_file("rtstruct.dcm")))


def test_a_cut_file_is_refused():
    with pytest.raises(ImageError, match="damaged or cut short"):
        read_image(Path(get_testdata_file("MR_truncated.dcm")))


def test_a_mask_is_no_ct(tmp_path):
    with pytest.raises(UnsupportedImageError, match="a mask in DICOM is a segmentation object"):
        read_mask(content_of(slice_of(PLANE)))


def test_limits_are_held_before_pixels_are_decoded(tmp_path):
    huge = slice_of(PLANE, Rows=60000, Columns=60000)
    with pytest.raises(ImageTooLargeError, match="3,600,000,000"):
        read_image(content_of(huge))
    folder = write_series(tmp_path / "series", series_of(VOLUME, affine_of(np.eye(3))))
    with pytest.raises(ImageTooLargeError, match="at most 100 voxels"):
        read_image(folder, limits=Limits(max_voxels=100))
