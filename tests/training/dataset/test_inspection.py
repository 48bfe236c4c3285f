import nibabel
import numpy as np
import pytest
import tifffile

from seg.errors import DatasetError
from tests.datasets import mask_values, plain_folder, write_png
from training.dataset import check, load_dataset


def test_a_sound_dataset_passes_the_check(raw):
    check(load_dataset(raw))


def test_the_check_lists_the_first_cases_that_cannot_be_used(tmp_path):
    plain_folder(tmp_path, cases=9)
    dataset = load_dataset(tmp_path)
    for index in range(7):
        write_png(tmp_path / "masks" / f"a{index}.png", mask_values(255, size=(4, 5)))
    with pytest.raises(DatasetError, match=r"(?s)7 of 9 cases.*the same size.*and 2 more") as error:
        check(dataset)
    assert "(4, 6) and (4, 5)" in str(error.value)


def test_a_value_without_a_class_is_told_with_the_values_that_have_one(tmp_path):
    dataset = load_dataset(plain_folder(tmp_path))
    write_png(tmp_path / "masks" / "a0.png", mask_values(255, 9, 8))
    with pytest.raises(DatasetError, match=r"values 8, 9.*0 = background, 255 = class_1"):
        check(dataset)


def test_an_image_that_cannot_be_read_is_a_dataset_error(tmp_path):
    dataset = load_dataset(plain_folder(tmp_path))
    (tmp_path / "images" / "a0.png").write_bytes(b"no image")
    with pytest.raises(DatasetError, match="case a0: "):
        check(dataset)


def test_nan_is_found(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "images").mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / "images" / f"{name}.tif", np.full((4, 6), np.nan, np.float32))
        write_png(tmp_path / "masks" / f"{name}.png", mask_values(255))
    with pytest.raises(DatasetError, match="NaN or infinity"):
        check(load_dataset(tmp_path))


@pytest.mark.parametrize(
    ("affine", "words"),
    [
        pytest.param(np.diag([1, 1, 2.0, 1]), "the same spacing", id="spacing"),
        pytest.param(np.diag([1, -1, 1.0, 1]), "turned differently", id="flipped"),
    ],
)
def test_a_mask_that_lies_elsewhere_than_its_image_is_refused(tmp_path, affine, words):
    for folder, place in (("images", np.eye(4)), ("masks", affine)):
        (tmp_path / folder).mkdir()
        for name in ("a", "b"):
            volume = nibabel.Nifti1Image(np.ones((4, 5, 6), np.int16), place)
            nibabel.save(volume, tmp_path / folder / f"{name}.nii")
    with pytest.raises(DatasetError, match=words):
        check(load_dataset(tmp_path))


def test_training_cases_that_show_background_only_are_refused(tmp_path):
    plain_folder(tmp_path, cases=3)
    dataset = load_dataset(tmp_path)
    for case in dataset.train:
        write_png(case.mask, mask_values(0))
    with pytest.raises(DatasetError, match="nothing to learn"):
        check(dataset)
