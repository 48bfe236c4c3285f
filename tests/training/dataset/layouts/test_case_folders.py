"""A folder for each case, or for each subject."""

import numpy as np
import pytest

from seg.errors import DatasetError
from tests.datasets import mask_values, write_png
from training.dataset import load_dataset, look_into


def case(folder, *names, mask="mask"):
    for index, name in enumerate(names):
        write_png(folder / f"{name}.png", np.full((4, 6), index + len(folder.name)))
    if mask:
        write_png(folder / f"{mask}.png", mask_values(1))


def test_the_file_that_says_mask_is_the_mask_and_the_others_are_channels(tmp_path):
    for name in ("BraTS_1", "BraTS_2", "BraTS_03"):
        case(tmp_path / name, f"{name}_t1", f"{name}_flair", mask=f"{name}_seg")
    (tmp_path / "__MACOSX").mkdir()
    dataset = load_dataset(tmp_path)
    assert [each.name for each in dataset.cases] == ["BraTS_03", "BraTS_1", "BraTS_2"]
    assert [channel.name for channel in dataset.channels] == ["flair", "t1"]
    assert [path.name for path in dataset.cases[1].images] == [
        "BraTS_1_flair.png",
        "BraTS_1_t1.png",
    ]


def test_one_image_may_be_called_anything(tmp_path):
    case(tmp_path / "a", "scan")
    case(tmp_path / "b", "image_of_b", mask="label")
    assert [each.mask.name for each in load_dataset(tmp_path).cases] == ["mask.png", "label.png"]


def test_folders_within_images_and_masks_are_subjects(tmp_path):
    for subject in ("p1", "p2", "p3"):
        for name in ("left", "right"):
            number = len(name) + 10 * int(subject[1])
            write_png(tmp_path / "images" / subject / f"{name}.png", np.full((4, 6), number))
            write_png(tmp_path / "masks" / subject / f"{name}.png", mask_values(1))
    dataset = load_dataset(tmp_path)
    assert dataset.cases[0].name == "p1_left"
    assert {each.subject for each in dataset.cases} == {"p1", "p2", "p3"}
    assert len({each.subject for each in dataset.test}) == 1
    (tmp_path / "masks" / "p2" / "left.png").unlink()
    with pytest.raises(DatasetError, match="no mask is called left"):
        load_dataset(tmp_path)


@pytest.mark.parametrize(
    ("folders", "held_out"),
    [
        (("train", "val"), {"val_x"}),
        (("training", "validation"), {"validation_x"}),
        (("train2017", "val2017", "test2017"), {"test2017_x"}),
        (("val", "test"), {"test_x"}),
    ],
)
def test_folders_called_as_what_they_are_for_are_no_subjects(folders, held_out, tmp_path):
    for name in folders:
        for part in ("images", "masks"):
            case(tmp_path / part / name, "x", mask=None)
    dataset, findings = look_into(tmp_path)
    assert {each.name for each in dataset.test} == held_out
    assert {each.name for each in dataset.train} == {f"{name}_x" for name in folders} - held_out
    assert all(each.subject is None for each in dataset.cases)
    told = [each for each in findings if "is held back" in each.problem]
    assert bool(told) is any(name.startswith("test") for name in folders)


def test_a_case_without_its_mask_and_one_with_two_are_told(tmp_path):
    case(tmp_path / "a", "scan")
    case(tmp_path / "b", "scan")
    case(tmp_path / "c", "scan", mask=None)
    case(tmp_path / "d", "scan", "scan_seg")
    _, findings = look_into(tmp_path)
    assert [(each.where[-1], each.problem.split("holds ")[1]) for each in findings] == [
        ("c", "0 files called as masks"),
        ("d", "2 files called as masks"),
    ]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(
            lambda f: (case(f / "a", "t1", "t2"), case(f / "b", "t1", "flair")),
            "holds the images t1, t2, .* holds flair, t1",
            id="other channels",
        ),
        pytest.param(
            lambda f: (
                case(f / "images", "x", mask=None),
                case(f / "masks" / "cell", "x", mask=None),
            ),
            "merge the masks of an image into one",
            id="a folder for each class",
        ),
        pytest.param(
            lambda f: (case(f / "x" / "images", "x", mask=None), case(f / "x" / "masks", "1")),
            "number the objects in one mask",
            id="a mask for each object",
        ),
    ],
)
def test_folders_that_are_kept_otherwise_say_what_to_do(make, words, tmp_path):
    make(tmp_path)
    with pytest.raises(DatasetError, match=words):
        load_dataset(tmp_path)
