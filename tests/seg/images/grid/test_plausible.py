"""Places in the world that no image can have."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from seg.errors import ImageError
from seg.images import Image, read_image
from seg.images.reading_parts import open_image

VOXELS = np.zeros((1, 2, 3, 4), np.uint8)


@pytest.mark.parametrize("mm", [1e-30, 1e-9, 2e6, 1e38])
def test_a_spacing_that_no_voxel_has_is_refused(mm: float) -> None:
    with pytest.raises(ImageError, match="is the unit right"):
        Image(VOXELS, spacing=(1.0, 1.0, mm))


def test_edges_that_differ_by_far_are_refused() -> None:
    with pytest.raises(ImageError, match="the same unit"):
        Image(VOXELS, spacing=(1e3, 1e-3, 1e-3))


@pytest.mark.parametrize("mm", [4e-7, 1e-4, 30.0, 1e4])
def test_voxels_of_electrons_cells_bodies_and_fields_are_taken(mm: float) -> None:
    assert Image(VOXELS, spacing=(2 * mm, mm, mm)).spacing == (2 * mm, mm, mm)


@pytest.mark.parametrize(
    ("where", "number", "said"),
    [
        ((0, 3), np.nan, "NaN"),
        ((0, 3), 1e30, "origin"),
        ((0, 0), 0.0, "onto a plane"),
        ((2, 2), 1e38, "unit"),
        ((0, 1), 5.7, "one plane"),
        ((3, 0), 1.0, "last row"),
    ],
)
def test_an_affine_that_places_no_voxels_is_refused(
    where: tuple[int, int], number: float, said: str
) -> None:
    affine = np.eye(4)
    affine[where] = number
    with pytest.raises(ImageError, match=said):
        Image(VOXELS, affine=affine)


@pytest.mark.parametrize("row", [(1e38, 0, 0, 0), (1, 0, 0, 1e30), (1, 5.7, 0, 0)])
def test_a_nifti_file_that_lies_nowhere_is_refused_whole_and_in_parts(
    row: tuple[float, ...], tmp_path: Path
) -> None:
    image = nibabel.Nifti1Image(np.zeros((4, 3, 2), np.int16), np.eye(4))
    image.header["qform_code"] = 0
    image.header["sform_code"] = 1
    image.header["srow_x"] = row
    path = tmp_path / "odd.nii"
    path.write_bytes(image.header.binaryblock + bytes(4 + 2 * 24))
    with pytest.raises(ImageError, match="repair"):
        read_image(path)
    with pytest.raises(ImageError, match="repair"), open_image(path):
        pass
