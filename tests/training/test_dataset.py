import json

import nibabel
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Picture

from data.phantom import draw
from seg.errors import DatasetError
from training.dataset import check, load_dataset
from training.dataset.cases import Case, with_held_out


def write_png(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.fromarray(np.asarray(values, np.uint8)).save(path)


def mask_values(*values, size=(4, 6)):
    """A mask with one pixel of each value in its first row, else 0."""
    mask = np.zeros(size, np.uint8)
    mask[0, : len(values)] = values
    return mask


def plain_folder(folder, *, cases=5, values=(255,), image_shape=(4, 6)):
    """``images`` and ``masks`` with the cases a0, a1, ..."""
    for index in range(cases):
        write_png(folder / "images" / f"a{index}.png", np.full(image_shape, index))
        write_png(folder / "masks" / f"a{index}.png", mask_values(*values))
    return folder


@pytest.fixture
def raw(tmp_path):
    """A small dataset in nnU-Net raw format: 3 training cases, 1 test case, 2 channels."""
    return draw(tmp_path / "phantom", cases=4, size=(20, 24))


def edit_json(folder, **changes):
    path = folder / "dataset.json"
    content = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


# nnU-Net raw format


def test_a_raw_folder_has_its_cases_channels_and_classes(raw):
    dataset = load_dataset(raw)
    assert [c.name for c in dataset.train] == ["phantom_000", "phantom_001", "phantom_002"]
    assert [c.name for c in dataset.test] == ["phantom_003"]
    assert [c.name for c in dataset.channels] == ["nuclei", "cells"]
    assert [(c.index, c.name) for c in dataset.classes] == [
        (0, "background"),
        (1, "cytoplasm"),
        (2, "nucleus"),
    ]
    assert dataset.dims == 2


def test_reading_a_case_gives_what_its_files_hold(raw):
    dataset = load_dataset(raw)
    image, mask = dataset.read(dataset.test[0])
    for index, channel in enumerate(image.array):
        stored = tifffile.imread(raw / "imagesTs" / f"phantom_003_{index:04d}.tif")
        np.testing.assert_array_equal(channel, stored)
    stored = tifffile.imread(raw / "labelsTs" / "phantom_003.tif")
    np.testing.assert_array_equal(mask.array, stored)


def test_a_volume_keeps_its_spacing(tmp_path):
    dataset = load_dataset(draw(tmp_path / "p", dims=3, cases=2, size=(4, 16, 20)))
    image, mask = dataset.read(dataset.train[0])
    assert dataset.dims == 3
    assert image.array.shape == (2, 4, 16, 20)
    assert image.spacing == mask.spacing == pytest.approx((3.0, 1.0, 1.0))


def test_labels_may_be_listed_by_value(raw):
    by_name = load_dataset(raw).classes
    edit_json(raw, labels={"0": "background", "2": "nucleus", "1": "cytoplasm"})
    assert load_dataset(raw).classes == by_name


def test_label_values_with_gaps_become_indices_without(raw):
    edit_json(raw, labels={"background": 0, "cytoplasm": 1, "debris": 40, "nucleus": 2})
    dataset = load_dataset(raw)
    assert [c.name for c in dataset.classes] == ["background", "cytoplasm", "nucleus", "debris"]
    assert dataset.label_values == {0: 0, 1: 1, 2: 2, 40: 3}


def test_without_test_labels_a_fifth_of_the_training_cases_is_held_out(tmp_path):
    folder = draw(tmp_path / "phantom", cases=13, size=(16, 16))
    for file in (folder / "labelsTs").iterdir():
        file.unlink()
    (folder / "labelsTs").rmdir()
    dataset = load_dataset(folder)
    assert len(dataset.test) == 2  # a fifth of 10
    assert {c.name for c in dataset.cases} == {f"phantom_{index:03d}" for index in range(10)}


def test_one_rgb_file_serves_three_declared_channels(tmp_path):
    for index in range(2):
        name = f"tile_{index}"
        write_png(tmp_path / "imagesTr" / f"{name}_0000.png", np.full((4, 6, 3), (10, 20, 30)))
        write_png(tmp_path / "labelsTr" / f"{name}.png", mask_values(1))
    content = {
        "channel_names": {"0": "red", "1": "green", "2": "blue"},
        "labels": {"background": 0, "cell": 1},
        "numTraining": 2,
        "file_ending": ".png",
    }
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    dataset = load_dataset(tmp_path)
    check(dataset)
    image, _ = dataset.read(dataset.cases[0])
    assert image.array[:, 0, 0].tolist() == [10, 20, 30]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"numTraining": 9}, "counts 9 training cases, imagesTr holds 3", id="count"),
        pytest.param({"labels": None}, "needs labels such as", id="no labels"),
        pytest.param({"labels": {"cell": 1, "rest": 2}}, "0 for background", id="no background"),
        pytest.param(
            {"labels": {"background": 0, "a": [1, 2]}}, "needs regions_class_order", id="no order"
        ),
        pytest.param(
            {"labels": {"background": 0, "a": [1, 2], "b": 2}, "regions_class_order": [1]},
            "one value for each of the 2 labels",
            id="short order",
        ),
        pytest.param(
            {"labels": {"background": 0, "a": 1, "ignore": 1}}, "a value of its own", id="ignore"
        ),
        pytest.param({"labels": {"background": 0, "a": 1, "b": 1}}, "the same value", id="twice"),
        pytest.param({"labels": {"background": 0, "a": "x"}}, "a whole number", id="no number"),
        pytest.param({"channel_names": None}, "needs channel_names such as", id="no channels"),
        pytest.param({"channel_names": {"0": "a"}}, "1 channel files, it has 2", id="channels"),
        pytest.param({"colors": {"nucleus": [1, 2]}}, "color is three numbers", id="colour"),
        pytest.param({"file_ending": ".png"}, "holds no images", id="ending"),
    ],
)
def test_a_card_that_contradicts_its_folder_is_refused(raw, changes, words):
    if "file_ending" in changes:
        changes = {**changes, "numTraining": 0}
    edit_json(raw, **changes)
    with pytest.raises(DatasetError, match=words):
        load_dataset(raw)


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        pytest.param("labelsTr/phantom_001.tif", "1 image has no mask.*: phantom_001", id="mask"),
        pytest.param("imagesTr/phantom_001_0000.tif", "it has _0001", id="first channel"),
        pytest.param("imagesTr/phantom_001_0001.tif", None, id="last channel"),
    ],
)
def test_a_lost_file_is_named(raw, lost, words):
    (raw / lost).unlink()
    if words is None:
        # One file could hold both channels; reading it tells.
        with pytest.raises(DatasetError, match=r"phantom_001: .*2 channels, the image 1"):
            check(load_dataset(raw))
    else:
        with pytest.raises(DatasetError, match=words):
            load_dataset(raw)


# plain folders


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


def test_a_test_folder_is_the_test_split(tmp_path):
    plain_folder(tmp_path, cases=2)
    for kind in ("images", "masks"):
        write_png(tmp_path / "test" / kind / "b.png", mask_values(255))
    dataset = load_dataset(tmp_path)
    assert [c.name for c in dataset.train] == ["a0", "a1"]
    assert [c.name for c in dataset.test] == ["b"]


def test_dataset_yaml_names_classes_channels_and_test_cases(tmp_path):
    plain_folder(tmp_path, values=(255, 7))
    (tmp_path / "dataset.yaml").write_text(
        """
        name: mine
        licence: CC0
        classes:
          - {name: background, value: 0}
          - {name: vessel, value: 255, color: [1, 2, 3]}
          - {name: lesion, value: 7}
        channels: [{name: fundus, modality: photo}]
        split: {test: [a1, a3]}
        """
    )
    dataset = load_dataset(tmp_path)
    assert (dataset.name, dataset.licence) == ("mine", "CC0")
    assert dataset.classes[1].color == (1, 2, 3)
    assert dataset.channels[0].modality == "photo"
    assert [c.name for c in dataset.test] == ["a1", "a3"]
    _, mask = dataset.read(dataset.cases[0])
    assert mask.array[0, :3].tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("yaml", "words"),
    [
        pytest.param("classes: [", "cannot be read", id="no YAML"),
        pytest.param("clases: []", "not valid at clases", id="misspelt"),
        pytest.param("classes: [{name: a}]", "needs 2 to 255 classes", id="one class"),
        pytest.param("classes: [{name: a}, {name: a}]", "different names", id="same name"),
        pytest.param("classes: [{name: a}, {name: b, value: 0}]", "the same value", id="values"),
        pytest.param("split: {test: [z]}", "names z, which is no case", id="unknown case"),
        pytest.param("split: {test: [a0, a1, a2, a3, a4]}", "no case to train", id="all test"),
    ],
)
def test_a_dataset_yaml_that_does_not_fit_says_where(tmp_path, yaml, words):
    plain_folder(tmp_path)
    (tmp_path / "dataset.yaml").write_text(yaml)
    with pytest.raises(DatasetError, match=words):
        load_dataset(tmp_path)


def test_masks_of_many_values_are_refused_with_the_way_out(tmp_path):
    plain_folder(tmp_path)
    write_png(tmp_path / "masks" / "a0.png", np.arange(40).reshape(4, 10))
    with pytest.raises(DatasetError, match=r"more than 32 different values; .* dataset\.yaml"):
        load_dataset(tmp_path)


def test_empty_masks_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="need values above 0"):
        load_dataset(plain_folder(tmp_path, values=(0,)))


def test_an_image_without_mask_and_a_mask_without_image_are_named(tmp_path):
    plain_folder(tmp_path)
    (tmp_path / "masks" / "a3.png").unlink()
    with pytest.raises(DatasetError, match="1 image has no mask of the same name: a3"):
        load_dataset(tmp_path)
    (tmp_path / "images" / "a3.png").unlink()
    (tmp_path / "images" / "a2.png").unlink()
    with pytest.raises(DatasetError, match="1 mask has no image of the same name: a2"):
        load_dataset(tmp_path)


def test_two_files_for_one_case_are_refused(tmp_path):
    plain_folder(tmp_path)
    Picture.new("L", (6, 4)).save(tmp_path / "images" / "a0.bmp")
    with pytest.raises(DatasetError, match=r"a0\.bmp and a0\.png: two files for one case"):
        load_dataset(tmp_path)


# whatever the layout


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(lambda f: f / "none", "no folder", id="missing"),
        pytest.param(lambda f: f, "is no dataset: it needs", id="empty"),
        pytest.param(lambda f: draw(f / "p", size=(16, 16)).parent, "did you mean", id="parent"),
        pytest.param(lambda f: plain_folder(f, cases=1), "at least 2 cases", id="one case"),
        pytest.param(lambda f: plain_folder(f, cases=0), "is no dataset", id="no case"),
    ],
)
def test_a_folder_that_is_no_dataset_says_what_is_needed(tmp_path, make, words):
    with pytest.raises(DatasetError, match=words):
        load_dataset(make(tmp_path))


def test_a_folder_without_readable_images_is_refused(tmp_path):
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text("no image")
    with pytest.raises(DatasetError, match="holds no images"):
        load_dataset(tmp_path)


def test_the_hash_follows_contents_and_not_the_place(tmp_path):
    one = load_dataset(plain_folder(tmp_path / "one"))
    two = load_dataset(plain_folder(tmp_path / "two"))
    assert one.sha256() == two.sha256()
    write_png(tmp_path / "two" / "masks" / "a4.png", mask_values(255, 255))
    assert load_dataset(tmp_path / "two").sha256() != one.sha256()


def cases_named(names):
    return [Case(name=n, images=(), mask=None, split="train") for n in names]


@given(st.sets(st.text(min_size=1), min_size=2, max_size=40), st.randoms())
def test_the_held_out_cases_do_not_depend_on_the_order_of_the_files(names, random):
    ordered = sorted(names)
    shuffled = random.sample(ordered, len(ordered))
    one = {c.name for c in with_held_out(cases_named(ordered)) if c.split == "test"}
    two = {c.name for c in with_held_out(cases_named(shuffled)) if c.split == "test"}
    assert one == two
    assert 1 <= len(one) < len(names)
    assert len(one) == max(1, round(len(names) / 5))


# the check before a training


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
        pytest.param(np.diag([1, -1, 1.0, 1]), "different places", id="flipped"),
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
