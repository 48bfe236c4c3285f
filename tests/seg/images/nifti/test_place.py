"""A mask or map says of its place what its NIfTI image said."""

import nibabel
import numpy as np
import pytest
import SimpleITK

from seg.images import (
    ClassInfo,
    Image,
    Mask,
    encode_probabilities,
    open_image,
    read_image,
    write_image,
    write_mask,
    write_mask_parts,
)
from seg.images.nifti.header import PLACE, places_of

CLASSES = (
    ClassInfo(index=0, name="background", color=(0, 0, 0)),
    ClassInfo(index=1, name="object", color=(255, 0, 0)),
)
VOXELS = np.zeros((6, 5, 4), np.int16)
SFORM = np.array([[-0.9, 0.1, 0, 20], [0.1, 1.1, 0, -18], [0, 0, 2, -20], [0, 0, 0, 1.0]])
QFORM = np.array([[-1.0, 0, 0, 10], [0, 1, 0, -30], [0, 0, 2, 4], [0, 0, 0, 1]])


def two_places(unit="mm", kind=nibabel.Nifti1Image):
    image = kind(VOXELS, SFORM)
    image.set_sform(SFORM, 2)
    image.set_qform(QFORM, 1)
    image.header.set_xyzt_units(unit, "sec")
    image.header["toffset"] = 3
    image.header["pixdim"][4] = 0
    return image


def place_in(file):
    header = nibabel.load(file).header
    return {field: header[field].tolist() for field in PLACE}


@pytest.mark.parametrize("unit", ["mm", "micron", "meter", "unknown"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_both_forms_their_codes_pixdim_units_and_time_are_kept(tmp_path, unit, kind):
    nibabel.save(two_places(unit, kind), tmp_path / "image.nii.gz")
    image = read_image(tmp_path / "image.nii.gz")
    mask = Mask.on_grid_of(image, np.zeros(image.spatial_shape, np.uint8))
    write_mask(tmp_path / "mask.nii.gz", mask, "nifti", CLASSES, image)
    with open_image(tmp_path / "image.nii.gz") as source:
        write_mask_parts(tmp_path / "parts.nii.gz", iter([mask.array]), source, "nifti")
    write_image(tmp_path / "again.nii.gz", image)
    for name in ("mask", "parts", "again"):
        assert place_in(tmp_path / f"{name}.nii.gz") == place_in(tmp_path / "image.nii.gz")
        np.testing.assert_array_equal(read_image(tmp_path / f"{name}.nii.gz").affine, image.affine)


def test_maps_of_several_channels_open_in_itk_where_the_image_does(tmp_path):
    nibabel.save(two_places(), tmp_path / "image.nii")
    image = read_image(tmp_path / "image.nii")
    body = encode_probabilities(np.full((2, 4, 5, 6), 0.5, np.float16), image, "nifti")
    (tmp_path / "map.nii.gz").write_bytes(body)
    here = SimpleITK.ReadImage(str(tmp_path / "image.nii"))
    there = SimpleITK.ReadImage(str(tmp_path / "map.nii.gz"))
    assert there.GetOrigin()[:3] == here.GetOrigin()
    assert there.GetSpacing()[:3] == here.GetSpacing()


def test_a_header_that_is_no_longer_true_is_not_kept(tmp_path):
    nibabel.save(two_places(), tmp_path / "image.nii")
    image = read_image(tmp_path / "image.nii")
    moved = Image(image.array, image.spacing, image.affine + np.eye(4, k=3), nifti=image.nifti)
    write_image(tmp_path / "moved.nii", moved)
    np.testing.assert_allclose(read_image(tmp_path / "moved.nii").affine, moved.affine, atol=1e-6)


def test_the_places_of_a_header_are_both_its_forms():
    image = read_image(two_places().to_bytes())
    first, *both = places_of(image.nifti)
    np.testing.assert_array_equal(first, image.affine)
    np.testing.assert_allclose(both[1], QFORM, atol=1e-6)


def test_a_tilted_stack_keeps_the_first_slice_and_rows_and_columns_in_itk(tmp_path):
    tilt = np.radians(20)
    affine = np.eye(4)
    affine[:3, 1] = 0, -np.cos(tilt), -np.sin(tilt)
    affine[:3, 0] = -1, 0, 0
    affine[:3, 2] = 0, 0, 2
    affine[:3, 3] = 5, 6, 7
    write_image(tmp_path / "a.nii", Image(VOXELS.T[None], affine=affine))
    np.testing.assert_allclose(nibabel.load(tmp_path / "a.nii").affine, affine, atol=1e-6)
    opened = SimpleITK.ReadImage(str(tmp_path / "a.nii"))
    for at in ((0, 0, 0), (5, 0, 0), (0, 4, 0), (5, 4, 0)):
        ras = np.array(opened.TransformIndexToPhysicalPoint(at)) * (-1, -1, 1)
        np.testing.assert_allclose(ras, (affine @ [*at, 1])[:3], atol=1e-5)


def test_volumes_of_sheared_voxels_are_those_of_the_determinant():
    affine = np.array([[1, 0.3, 0, 0], [0, 1, 0.7, 0], [0, 0, 2, 0], [0, 0, 0, 1.0]])
    spacing = tuple(float(mm) for mm in np.linalg.norm(affine[:3, :3], axis=0)[::-1])
    mask = Mask(np.ones((2, 2, 2), np.uint8), spacing, affine)
    assert mask.voxel_extent == pytest.approx(abs(np.linalg.det(affine[:3, :3])))
    flat = Mask(np.ones((2, 2), np.uint8), spacing[1:], affine)
    assert flat.voxel_extent == pytest.approx(np.linalg.norm(np.cross(*affine[:3, :2].T)))
    straight = Mask(np.ones((2, 2, 2), np.uint8), (2.0, 0.7, 0.7), np.diag([0.7, 0.7, 2, 1]))
    assert straight.voxel_extent == 2.0 * 0.7 * 0.7
