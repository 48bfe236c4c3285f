import json

import numpy as np
import pytest
import tifffile

from data.phantom import draw
from seg.errors import DatasetError
from tests.datasets import edit_json, mask_values, write_png
from training.dataset import check_dataset, load_dataset


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
    assert dataset.masks.label_of == {0: 0, 1: 1, 2: 2, 40: 3}


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
    check_dataset(dataset)
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
        pytest.param(
            {"channel_names": {"0": "a"}}, "1 channel files, this one has 2", id="channels"
        ),
        pytest.param({"colors": {"nucleus": [1, 2]}}, "color is three numbers", id="colour"),
        pytest.param({"file_ending": ".png"}, "imagesTr holds phantom_000_0000", id="ending"),
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
        pytest.param("labelsTr/phantom_001.tif", "no mask is called phantom_001", id="mask"),
        pytest.param("imagesTr/phantom_001_0000.tif", "it has _0001", id="first channel"),
        pytest.param("imagesTr/phantom_001_0001.tif", None, id="last channel"),
    ],
)
def test_a_lost_file_is_named(raw, lost, words):
    (raw / lost).unlink()
    if words is None:
        # One file could hold both channels; reading it tells.
        with pytest.raises(DatasetError, match=r"phantom_001_0000.tif: .*2 channels, the image 1"):
            check_dataset(load_dataset(raw))
    else:
        with pytest.raises(DatasetError, match=words):
            load_dataset(raw)


def test_labels_that_are_there_twice_are_refused(raw):
    text = (raw / "dataset.json").read_text()
    (raw / "dataset.json").write_text(text.replace("{", '{"labels": {"background": 0},', 1))
    with pytest.raises(DatasetError, match="labels is there twice in one object"):
        load_dataset(raw)
