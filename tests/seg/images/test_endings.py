from pathlib import Path

import numpy as np
import pytest

from seg.errors import ImageError
from seg.images import IMAGE_ENDINGS, images_at, stem_of
from tests.seg.images.dicom.files import content_of, slice_of

SLICE = content_of(slice_of(np.zeros((2, 2), np.uint8)))


@pytest.fixture
def folder(tmp_path):
    """A folder of many things, five of them images where volumes are wanted."""
    for name in ("b.nii.gz", "a.PNG", "notes.txt", ".hidden.png", "c.raw"):
        (tmp_path / name).touch()
    (tmp_path / "CT.1.2.840.113619").write_bytes(SLICE)
    for name in ("series", "empty", "cells.ome.zarr"):
        (tmp_path / name).mkdir()
    (tmp_path / "series" / "IM0001").write_bytes(SLICE)
    (tmp_path / "cells.ome.zarr" / "zarr.json").touch()
    return tmp_path


def test_a_folder_of_dicom_files_is_one_volume(folder):
    assert images_at(folder, 3) == [folder]
    (folder / "CT.1.2.840.113619").unlink()
    names = [path.name for path in images_at(folder, 3)]
    assert names == ["a.PNG", "b.nii.gz", "cells.ome.zarr", "series"]


def test_where_2d_images_are_wanted_each_dicom_file_is_one(folder):
    names = [path.name for path in images_at(folder, 2)]
    assert names == ["CT.1.2.840.113619", "a.PNG", "b.nii.gz", "cells.ome.zarr"]
    assert images_at(folder / "series", 2) == [folder / "series" / "IM0001"]


def test_a_file_stands_for_itself_whatever_its_name(folder):
    assert images_at(folder / "notes.txt") == [folder / "notes.txt"]


def test_a_path_that_is_not_there_is_refused(folder):
    with pytest.raises(ImageError, match="gone does not exist"):
        images_at(folder / "gone")


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("case.nii.gz", "case"),
        ("case.v2.ome.zarr", "case.v2"),
        ("Case.TIF", "Case"),
        ("CT.1.2.840.113619", "CT.1.2.840.113619"),
        ("other.xyz", "other"),
    ],
)
def test_a_stem_is_the_name_without_its_ending(name, stem):
    assert stem_of(Path(name)) == stem


def test_no_ending_hides_a_longer_one():
    for i, ending in enumerate(IMAGE_ENDINGS):
        assert not any(later.endswith(ending) for later in IMAGE_ENDINGS[i + 1 :])
