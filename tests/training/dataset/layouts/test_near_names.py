"""Names that are nearly right are understood, or named with what would be right."""

import json
import os
import unicodedata

import numpy as np
import pytest

from seg.errors import DatasetError
from tests.datasets import mask_values, plain_folder, write_png
from training.dataset import IGNORE, load_dataset, look_into
from training.dataset.names import bare


def names(cases):
    return [case.name for case in cases]


def folders(folder, images="images", masks="masks", behind="", cases=4):
    for index in range(cases):
        write_png(folder / images / f"s{index}.png", np.full((4, 6), index))
        write_png(folder / masks / f"s{index}{behind}.png", mask_values(1))
    return folder


@pytest.mark.parametrize("name", ["dataset.yml", "Dataset.yaml", "DATASET.YML"])
def test_dataset_yaml_is_known_whatever_its_capitals(name, tmp_path):
    folders(tmp_path)
    (tmp_path / name).write_text("classes: [background, cell]\n")
    assert load_dataset(tmp_path).classes[1].name == "cell"


def test_two_cards_are_refused(tmp_path):
    folders(tmp_path)
    for name in ("dataset.yaml", "dataset.yml"):
        (tmp_path / name).write_text("classes: [background, cell]\n")
    with pytest.raises(DatasetError, match=r"lies beside dataset\.yml; keep one"):
        load_dataset(tmp_path)


@pytest.mark.parametrize(
    ("field", "hint"),
    [
        ("fold: 0", "split: {test:"),
        ("labels: [a]", "write classes"),
        ("clases: [a]", "mean classe"),
    ],
)
def test_a_field_that_other_programs_have_is_named_as_it_is_here(field, hint, tmp_path):
    folders(tmp_path)
    (tmp_path / "dataset.yaml").write_text(field)
    with pytest.raises(DatasetError, match=hint):
        load_dataset(tmp_path)


@pytest.mark.parametrize("masks", ["labels", "annotations", "Masks", "seg", "GT"])
@pytest.mark.parametrize("images", ["images", "Images", "img"])
def test_folders_have_many_names(images, masks, tmp_path):
    assert names(load_dataset(folders(tmp_path, images, masks)).cases) == ["s0", "s1", "s2", "s3"]


@pytest.mark.parametrize("behind", ["_mask", "_seg", "-label", "_Segmentation", ".gt"])
def test_masks_may_say_that_they_are(behind, tmp_path):
    assert len(load_dataset(folders(tmp_path, behind=behind)).cases) == 4


def test_masks_may_lie_beside_their_images(tmp_path):
    dataset = load_dataset(folders(tmp_path, ".", ".", "_mask"))
    assert names(dataset.cases) == ["s0", "s1", "s2", "s3"]


@pytest.mark.parametrize(
    ("stem", "without"),
    [("a_mask", "a"), ("mask_a", "a"), ("a", "a"), ("mask", "mask"), ("human_1", "human_1")],
)
def test_only_words_for_images_and_masks_are_left_out(stem, without):
    assert bare(stem) == without


@pytest.mark.parametrize("test", ["test", "Test", "val", "validation", "testing"])
def test_test_cases_lie_in_a_folder_of_many_names(test, tmp_path):
    folders(tmp_path, cases=2)
    write_png(tmp_path / test / "Images" / "t.png", np.zeros((4, 6)))
    write_png(tmp_path / test / "labels" / "t.png", mask_values(1))
    assert names(load_dataset(tmp_path).test) == ["t"]


def test_of_test_and_validation_the_test_is_held_out_and_that_is_told(tmp_path):
    folders(tmp_path / "train", cases=2)
    for name in ("val", "test"):
        write_png(tmp_path / name / "images" / f"{name}0.png", np.zeros((4, 6)))
        write_png(tmp_path / name / "masks" / f"{name}0.png", mask_values(1))
    dataset, findings = look_into(tmp_path)
    assert (names(dataset.train), names(dataset.test)) == (["s0", "s1", "val0"], ["test0"])
    assert [f.problem for f in findings] == [
        "test is held back, so val is trained on like the rest"
    ]


def test_a_second_folder_of_masks_and_another_dataset_are_told(tmp_path):
    folders(tmp_path)
    folders(tmp_path, images="images", masks="labels")
    folders(tmp_path / "extra")
    problems = {f.where.rsplit("/", 1)[-1]: f.problem for f in look_into(tmp_path)[1]}
    assert problems == {
        "labels": "the masks are read from masks, so this folder is passed over",
        "extra": "the folder holds images and masks and is passed over",
    }


def test_letters_with_marks_are_the_same_composed_and_apart(tmp_path):
    for index in range(3):
        name = f"Zelle_ü{index}.png"
        write_png(tmp_path / "images" / unicodedata.normalize("NFC", name), np.zeros((4, 6)))
        write_png(tmp_path / "masks" / unicodedata.normalize("NFD", name), mask_values(1))
    (tmp_path / "dataset.yaml").write_text(
        unicodedata.normalize("NFD", "split: {test: [Zelle_ü1]}"), encoding="utf-8"
    )
    assert names(load_dataset(tmp_path).test) == [unicodedata.normalize("NFC", "Zelle_ü1")]


def test_a_name_that_is_no_text_is_refused_by_name(tmp_path):
    folders(tmp_path)
    (tmp_path / "images" / "s0.png").rename(tmp_path / "images" / os.fsdecode(b"caf\xe9.png"))
    with pytest.raises(DatasetError, match=r"caf\\xe9\.png: the name is not UTF-8"):
        load_dataset(tmp_path)


@pytest.mark.parametrize("channels", [("_w1", "_w2"), ("_ch00", "_ch01"), ("_w1DAPI", "_w2GFP")])
def test_channels_are_numbered_as_microscopes_do(channels, tmp_path):
    for case in ("a_s1", "b_s2"):
        for value, channel in enumerate(channels):
            write_png(tmp_path / "images" / f"{case}{channel}.png", np.full((4, 6), value))
        write_png(tmp_path / "masks" / f"{case}.png", mask_values(1))
    dataset = load_dataset(tmp_path)
    image, _ = dataset.read(dataset.cases[0])
    assert names(dataset.cases) == ["a_s1", "b_s2"]
    assert image.array[:, 0, 0].tolist() == [0, 1]


def test_cases_that_only_look_like_channels_stay_cases(tmp_path):
    for index in (1, 2, 3):
        write_png(tmp_path / "images" / f"exp_c{index}.png", np.zeros((4, 6)))
        write_png(tmp_path / "masks" / f"exp_c{index}_mask.png", mask_values(1))
    assert names(load_dataset(tmp_path).cases) == ["exp_c1", "exp_c2", "exp_c3"]


def datalist(folder, rows, **more):
    plain_folder(folder, values=(1,))
    (folder / "images").rename(folder / "scans")
    (folder / "masks").rename(folder / "drawn")
    entries = [
        {"image": f"scans/a{i}.png", "label": f"drawn/a{i}.png", **row}
        for i, row in enumerate(rows)
    ]
    (folder / "list.json").write_text(json.dumps({"training": entries, **more}), encoding="utf-16")
    return folder


@pytest.mark.parametrize(
    ("folds", "held"),
    [((0, 1, 2, 3), ["a0"]), (("0", "1", "0", "2"), ["a0", "a2"]), ((1, 2, 3, 1), ["a0", "a3"])],
)
def test_the_first_fold_is_held_out_whatever_it_is_counted_from(folds, held, tmp_path):
    dataset = load_dataset(datalist(tmp_path, [{"fold": fold} for fold in folds]))
    assert names(dataset.test) == held


def test_a_fold_that_is_no_number_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="\"fold\" must be a whole number, got 'one'"):
        load_dataset(datalist(tmp_path, [{"fold": "one"}, {"fold": "two"}]) / "list.json")


def test_ignore_has_any_capitals(raw):
    content = json.loads((raw / "dataset.json").read_text())
    content["labels"]["Ignore"] = 9
    (raw / "dataset.json").write_text(json.dumps(content), encoding="utf-8-sig")
    dataset = load_dataset(raw)
    assert dataset.legend.ignores
    assert dataset.masks.label_of[9] == IGNORE


def test_the_labels_that_version_1_lists_are_those_that_are_read(raw):
    (raw / "labelsTr").rename(raw / "drawn")
    content = json.loads((raw / "dataset.json").read_text())
    masks = sorted((raw / "drawn").iterdir())
    content["training"] = [
        {"image": f".\\imagesTr\\{mask.name}", "label": f"./drawn/{mask.name}"} for mask in masks
    ]
    (raw / "dataset.json").write_text(json.dumps(content))
    assert {case.mask.parent.name for case in load_dataset(raw).train} == {"drawn"}
    content["training"] = content["training"][:-1]
    content["numTraining"] -= 1
    (raw / "dataset.json").write_text(json.dumps(content))
    dataset, findings = look_into(raw)
    assert len(dataset.train) == len(masks) - 1
    assert "lists its training cases, and not this one" in findings[0].problem


def test_numbers_pair_with_and_without_zeros_before_them(tmp_path):
    for number in (1, 2, 10):
        write_png(tmp_path / "images" / f"im_{number:03d}.png", np.full((4, 6), number))
        write_png(tmp_path / "masks" / f"{number}.png", mask_values(1))
    assert [case.mask.stem for case in load_dataset(tmp_path).cases] == ["1", "2", "10"]


def test_zeros_within_and_behind_numbers_count(tmp_path):
    for number in (10, 100, 1001):
        write_png(tmp_path / "images" / f"im_{number:05d}.png", np.full((4, 6), number % 256))
        write_png(tmp_path / "masks" / f"{number}.png", mask_values(1))
    assert [case.mask.stem for case in load_dataset(tmp_path).cases] == ["10", "100", "1001"]
    (tmp_path / "masks" / "1001.png").rename(tmp_path / "masks" / "11.png")
    with pytest.raises(DatasetError, match="no mask is called im_01001"):
        load_dataset(tmp_path)


def test_a_link_that_leads_nowhere_is_told(tmp_path):
    plain_folder(tmp_path)
    (tmp_path / "images" / "z.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(DatasetError, match=r"z\.png: the link leads nowhere"):
        load_dataset(tmp_path)


def test_what_systems_leave_in_folders_is_no_dataset(tmp_path):
    plain_folder(tmp_path)
    for name in ("__MACOSX", ".Trash", "@eaDir"):
        for part in ("images", "masks"):
            (tmp_path / name / part).mkdir(parents=True)
    assert look_into(tmp_path)[1] == []


@pytest.mark.parametrize(
    ("image", "mask"), [("{}_img", "{}_masks"), ("volume-{}", "segmentation-{}")]
)
def test_images_beside_their_masks_may_say_what_they_are_too(image, mask, tmp_path):
    for index in range(4):
        write_png(tmp_path / f"{image.format(index)}.png", np.full((4, 6), index))
        write_png(tmp_path / f"{mask.format(index)}.png", mask_values(1))
    cases = load_dataset(tmp_path).cases
    pairs = {(case.images[0].stem, case.mask.stem) for case in cases}
    assert pairs == {(image.format(index), mask.format(index)) for index in range(4)}


def test_masks_of_a_format_that_is_not_read_are_named(tmp_path):
    folders(tmp_path)
    for path in (tmp_path / "masks").iterdir():
        path.rename(path.with_suffix(".npz"))
    with pytest.raises(DatasetError, match=r"no masks that are read, but .*npz"):
        load_dataset(tmp_path)
