import nibabel
import numpy as np
import pytest
import tifffile
from numpy.random import default_rng
from PIL import Image as Picture

from seg.errors import DatasetError
from tests.datasets import mask_values, plain_folder, write_png
from tests.seg.images.dicom.files import content_of, series_of
from training.dataset import check_dataset, load_dataset, look_into


def test_values_0_and_255_become_two_classes(tmp_path):
    dataset = load_dataset(plain_folder(tmp_path))
    assert [c.name for c in dataset.classes] == ["background", "class_1"]
    _, mask = dataset.read(dataset.cases[0])
    assert mask.array[0].tolist() == [1, 0, 0, 0, 0, 0]


def test_a_palette_mask_holds_its_indices(tmp_path):
    plain_folder(tmp_path, values=(1, 2))
    picture = Picture.fromarray(mask_values(2, 1), mode="P")
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    picture.save(tmp_path / "masks" / "a0.png")
    dataset = load_dataset(tmp_path)
    _, mask = dataset.read(next(c for c in dataset.cases if c.name == "a0"))
    assert mask.array[0, :2].tolist() == [2, 1]


def test_a_photo_has_the_channels_red_green_blue(tmp_path):
    dataset = load_dataset(plain_folder(tmp_path, image_shape=(4, 6, 3)))
    assert [c.name for c in dataset.channels] == ["red", "green", "blue"]


def test_numbered_files_are_channels_where_no_mask_has_the_number(tmp_path):
    for case in ("a", "b"):
        for channel in range(2):
            write_png(tmp_path / "images" / f"{case}_{channel:04d}.png", np.full((4, 6), channel))
        write_png(tmp_path / "masks" / f"{case}.png", mask_values(1))
    dataset = load_dataset(tmp_path)
    image, _ = dataset.read(dataset.cases[0])
    assert image.array[:, 0, 0].tolist() == [0, 1]


def test_numbered_files_are_cases_where_masks_have_the_number_too(tmp_path):
    for index in range(3):
        write_png(tmp_path / "images" / f"IMG_{index:04d}.png", np.zeros((4, 6)))
        write_png(tmp_path / "masks" / f"IMG_{index:04d}.png", mask_values(1))
    dataset = load_dataset(tmp_path)
    assert [c.name for c in dataset.cases] == ["IMG_0000", "IMG_0001", "IMG_0002"]
    assert len(dataset.channels) == 1


def test_nifti_volumes_are_read_from_plain_folders(tmp_path):
    for folder, values in (("images", 5), ("masks", 1)):
        (tmp_path / folder).mkdir()
        for name in ("a", "b"):
            volume = nibabel.Nifti1Image(np.full((4, 5, 6), values, np.int16), np.eye(4))
            nibabel.save(volume, tmp_path / folder / f"{name}.nii.gz")
    dataset = load_dataset(tmp_path)
    assert dataset.dims == 3
    assert [c.name for c in dataset.cases] == ["a", "b"]
    image, _ = dataset.read(dataset.cases[0])
    assert image.spatial_shape == (6, 5, 4)


def test_masks_of_many_values_are_refused_with_the_way_out(tmp_path):
    plain_folder(tmp_path)
    write_png(tmp_path / "masks" / "a0.png", np.arange(40).reshape(4, 10))
    with pytest.raises(
        DatasetError,
        match=r"more than 32 different values, 40 of them in .*a0\.png .*dataset\.yaml",
    ):
        load_dataset(tmp_path)


def test_empty_masks_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="need values above 0"):
        load_dataset(plain_folder(tmp_path, values=(0,)))


def test_an_image_without_mask_and_a_mask_without_image_are_named(tmp_path):
    plain_folder(tmp_path)
    (tmp_path / "masks" / "a3.png").unlink()
    with pytest.raises(DatasetError, match="no mask is called a3"):
        load_dataset(tmp_path)
    (tmp_path / "images" / "a2.png").unlink()
    with pytest.raises(DatasetError, match="2 things are wrong") as error:
        load_dataset(tmp_path)
    assert f"{tmp_path}/masks/a2.png: no image is called a2" in str(error.value)
    assert "no mask is called a3" in str(error.value)


def test_two_files_for_one_case_are_refused(tmp_path):
    plain_folder(tmp_path)
    Picture.new("L", (6, 4)).save(tmp_path / "images" / "a0.bmp")
    with pytest.raises(DatasetError, match=r"a0\.bmp and a0\.png: two files for one case"):
        load_dataset(tmp_path)


@pytest.mark.parametrize("name", ["labels", "masks_reader2", "GT expert B"])
def test_other_folders_of_masks_are_passed_over_and_told(name, tmp_path):
    write_png(plain_folder(tmp_path) / name / "a0.png", mask_values(1))
    told = [each.where for each in look_into(tmp_path)[1] if "passed over" in each.problem]
    assert told == [str(tmp_path / name)]


def test_a_folder_of_dicom_slices_is_an_image(tmp_path):
    affine = np.diag([1.0, 1.0, 3.0, 1.0])  # from (x, y, z) to LPS
    volumes = default_rng(0).integers(0, 999, (2, 5, 8, 9)).astype(np.int16)
    for name, volume in zip("ab", volumes, strict=True):
        series = tmp_path / "images" / name
        series.mkdir(parents=True)
        for number, each in enumerate(series_of(volume, affine)):
            (series / f"{9 - number}.dcm").write_bytes(content_of(each))
        (tmp_path / "masks").mkdir(exist_ok=True)
        labels = (volume.T > 500).astype(np.uint8)
        place = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
        nibabel.save(nibabel.Nifti1Image(labels, place), tmp_path / "masks" / f"{name}.nii.gz")
    dataset = load_dataset(tmp_path)
    check_dataset(dataset)
    image, mask = dataset.read(dataset.cases[0])
    np.testing.assert_array_equal(image.array[0], volumes[0])
    np.testing.assert_array_equal(mask.array, volumes[0] > 500)
    assert image.spacing == (3.0, 1.0, 1.0)
    before = dataset.sha256()
    (tmp_path / "images" / "a" / "9.dcm").write_bytes(content_of(series_of(volumes[1], affine)[0]))
    assert load_dataset(tmp_path).sha256() != before


@pytest.mark.parametrize(
    ("name", "is_told"),
    [
        ("dataset.yaml.txt", True),
        ("datset.yml", True),
        ("classes.txt", True),
        ("splits_final.json", True),
        ("train.txt", True),
        ("README.txt", False),
    ],
)
def test_files_that_seem_to_describe_a_dataset_and_are_not_read_are_told(tmp_path, name, is_told):
    folder = plain_folder(tmp_path / "data", values=(1,))
    (folder / name).write_text("classes: [background, cell]")
    told = [each.where for each in look_into(folder)[1] if "is not read" in each.problem]
    assert told == [str(folder / name)] * is_told
    (folder / "dataset.yaml").write_text("classes: [background, cell]")
    assert not any("is not read" in each.problem for each in look_into(folder)[1])


@pytest.mark.parametrize(
    ("pages", "axes", "is_told"),
    [(3, None, True), (10, None, True), (2, None, False), (3, "CYX", False)],
)
def test_pages_that_nothing_names_are_told_and_no_photo(tmp_path, pages, axes, is_told):
    folder = plain_folder(tmp_path / "data", values=(1,))
    for file in sorted((folder / "images").iterdir()):
        stack = default_rng(pages).integers(0, 255, (pages, 4, 6)).astype(np.uint8)
        named = {"axes": axes} if axes else None
        tifffile.imwrite(file.with_suffix(".tif"), stack, photometric="minisblack", metadata=named)
        file.unlink()
    dataset, findings = look_into(folder)
    assert any(f"names its {pages} pages" in each.problem for each in findings) is is_told
    assert len(dataset.channels) == pages
    assert (dataset.channels[0].name == "channel_0") is (is_told or pages == 2)
