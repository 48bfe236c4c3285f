import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from seg.errors import UnsupportedImageError
from seg.images import Image, Mask, write_image, write_mask
from seg.images.itk.write import encode_itk

SHEARED = np.array(
    [[-0.5, 0.2, 0.0, 30.0], [0.0, 0.7, 0.1, -20.0], [0.0, 0.0, 3.0, 5.0], [0.0, 0.0, 0.0, 1.0]]
)
LABELS = np.random.default_rng(0).integers(0, 3, (3, 4, 5)).astype(np.uint8)
SPACING = (3.0016662039607267, 0.7280109889280518, 0.5)


def test_itk_finds_each_voxel_where_the_affine_puts_it(tmp_path, classes):
    write_mask(tmp_path / "m.seg.nrrd", Mask(LABELS, SPACING, SHEARED), "nrrd", classes)
    read = sitk.ReadImage(str(tmp_path / "m.seg.nrrd"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read), LABELS)
    for index in [(0, 0, 0), (4, 3, 2), (1, 2, 0)]:
        left, back, up = read.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose((-left, -back, up), (SHEARED @ (*index, 1))[:3])


def test_the_header_names_the_classes_as_slicer_wants_them(tmp_path, classes):
    write_mask(tmp_path / "m.seg.nrrd", Mask(LABELS[0]), "nrrd", classes)
    read = sitk.ReadImage(str(tmp_path / "m.seg.nrrd"))
    assert read.GetSize() == (5, 4, 1)
    assert read.GetMetaData("Segment0_Name") == "nucleus"
    assert read.GetMetaData("Segment0_LabelValue") == "1"
    assert read.GetMetaData("Segment1_Color") == "0.000000 0.501961 1.000000"
    assert read.GetMetaData("Segment1_Extent") == "0 4 0 3 0 0"
    assert not read.HasMetaDataKey("Segment2_Name")


def test_a_name_cannot_bring_lines_of_its_own_into_the_header(tmp_path, classes):
    odd = classes[1].model_copy(update={"name": "a\nSegment0_LabelValue:=9"})
    write_mask(tmp_path / "m.seg.nrrd", Mask(LABELS % 2), "nrrd", [classes[0], odd])
    read = sitk.ReadImage(str(tmp_path / "m.seg.nrrd"))
    assert read.GetMetaData("Segment0_LabelValue") == "1"


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_keeps_its_channels_and_numbers(tmp_path, suffix, channels):
    array = np.random.default_rng(0).normal(size=(channels, 3, 4, 5))
    write_image(tmp_path / f"i{suffix}", Image(array, SPACING, SHEARED))
    read = sitk.ReadImage(str(tmp_path / f"i{suffix}"))
    pixels = sitk.GetArrayFromImage(read)
    np.testing.assert_array_equal(pixels, array[0] if channels == 1 else np.moveaxis(array, 0, -1))
    np.testing.assert_allclose(read.GetSpacing(), SPACING[::-1])


def test_what_itk_cannot_hold_is_refused(tmp_path):
    with pytest.raises(UnsupportedImageError, match="got float16; convert to float32"):
        encode_itk(Image(np.zeros((1, 2, 2), np.float16)), ".nrrd")
    flat = Image(np.zeros((1, 2, 2)), (1.0, 1.0), np.diag([1.0, 1.0, 0.0, 1.0]))
    with pytest.raises(UnsupportedImageError, match="maps the volume onto a plane"):
        write_image(tmp_path / "i.nrrd", flat)
    assert not list(tmp_path.iterdir())
