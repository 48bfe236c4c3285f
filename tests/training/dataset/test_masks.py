"""Masks that are not one plain value a class."""

import numpy as np
import pytest
import tifffile

from seg.errors import DatasetError
from tests.datasets import mask_values, plain_folder, write_png
from training.dataset import IGNORE, check_dataset, load_dataset

RED, GREEN, BLACK, GREY = (255, 0, 0), (0, 200, 0), (0, 0, 0), (128, 128, 128)
COLORS = """
masks: colors
classes:
  - {name: background, color: [0, 0, 0]}
  - {name: artery, color: [255, 0, 0]}
  - {name: vein, color: [0, 200, 0]}
"""


def described(folder, text, **masks):
    plain_folder(folder, **masks)
    (folder / "dataset.yaml").write_text(text)
    return folder


def color_masks(folder, row):
    for index in range(5):
        mask = np.zeros((4, 6, 3), np.uint8)
        mask[0, : len(row)] = row
        write_png(folder / "masks" / f"a{index}.png", mask)


def labels(folder):
    dataset = load_dataset(folder)
    check_dataset(dataset)
    return dataset, dataset.read(dataset.cases[0])[1].array[0].tolist()


def test_colors_are_classes(tmp_path):
    described(tmp_path, COLORS)
    color_masks(tmp_path, [RED, GREEN, BLACK])
    dataset, row = labels(tmp_path)
    assert row == [1, 2, 0, 0, 0, 0]
    assert dataset.classes[2].color == GREEN


def test_a_color_may_say_that_nobody_annotated(tmp_path):
    described(tmp_path, COLORS + "ignore: [128, 128, 128]")
    color_masks(tmp_path, [RED, GREY, GREEN])
    dataset, row = labels(tmp_path)
    assert row == [1, IGNORE, 2, 0, 0, 0]
    assert dataset.legend.ignores


def test_a_color_without_a_class_is_named(tmp_path):
    described(tmp_path, COLORS)
    color_masks(tmp_path, [RED, (1, 2, 3)])
    dataset = load_dataset(tmp_path)
    with pytest.raises(DatasetError, match=r"colors \[1, 2, 3\], which no class.*= artery"):
        dataset.read(dataset.cases[0])


def test_color_masks_that_nobody_declared_are_refused_with_the_way_out(tmp_path):
    plain_folder(tmp_path)
    color_masks(tmp_path, [RED])
    with pytest.raises(DatasetError, match=r"if colors are classes, write masks: colors"):
        load_dataset(tmp_path)


def test_object_numbers_are_one_class(tmp_path):
    text = "masks: instances\nignore: 1000\nclasses: [background, nucleus]"
    described(tmp_path, text, values=(3,))
    for index in range(5):
        (tmp_path / "masks" / f"a{index}.png").unlink()
        numbers = np.zeros((4, 6), np.uint16)
        numbers[0, :3] = (7, 301, 1000)
        tifffile.imwrite(tmp_path / "masks" / f"a{index}.tif", numbers)
    dataset, row = labels(tmp_path)
    assert row == [1, 1, IGNORE, 0, 0, 0]
    assert [c.name for c in dataset.classes] == ["background", "nucleus"]


def test_classes_of_several_values_overlap(tmp_path):
    text = """
    classes:
      - {name: background, value: 0}
      - {name: tumour, values: [10, 20, 30]}
      - {name: core, values: [20, 30]}
      - {name: active, value: 30}
    ignore: 255
    """
    described(tmp_path, text, values=(10, 20, 30, 255))
    dataset, row = labels(tmp_path)
    assert row == [1, 2, 3, IGNORE, 0, 0]
    assert dataset.legend.regions == ((1, 2, 3), (2, 3), (3,))
    assert dataset.legend.task == "regions"
    assert dataset.legend.in_words(2) == "tumour and core"


def test_an_ignored_value_is_no_class_where_classes_are_found(tmp_path):
    described(tmp_path, "ignore: 9", values=(9, 4))
    dataset, row = labels(tmp_path)
    assert row == [IGNORE, 1, 0, 0, 0, 0]
    assert len(dataset.classes) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("masks: colors", "needs classes", id="no colors"),
        pytest.param("masks: colors\nclasses: [a, b]", "class b needs a color", id="colorless"),
        pytest.param(COLORS + "ignore: 3", "ignore in dataset.yaml is a color", id="ignored value"),
        pytest.param("ignore: [1, 2, 3]", "is a number where masks are values", id="ignored color"),
        pytest.param("masks: instances\nclasses: [a, b, c]", "names 3 classes", id="instances"),
        pytest.param("ignore: 0\nclasses: [a, b]", "a value that no class has", id="ignored class"),
        pytest.param("masks: colours", "'values', 'colors' or 'instances'", id="misspelt value"),
        pytest.param("clases: [a]", "did you mean classes", id="misspelt field"),
        pytest.param("classes: [{name: a, vlaue: 1}]", "did you mean value", id="misspelt deep"),
        pytest.param("classes: [a, {name: ignore, value: 3}]", "write ignore: VALUE", id="ignore"),
        pytest.param(
            "classes: [{name: a, values: [0, 1]}, {name: b, values: [2]}]", "one value", id="ground"
        ),
    ],
)
def test_a_card_that_cannot_be_is_refused(tmp_path, text, words):
    described(tmp_path, text)
    with pytest.raises(DatasetError, match=words):
        load_dataset(tmp_path)


def test_a_value_that_is_not_declared_is_told_with_those_that_are(tmp_path):
    described(tmp_path, "classes: [{name: ground, value: 0}, {name: cell, value: 255}]")
    write_png(tmp_path / "masks" / "a0.png", mask_values(255, 7))
    dataset = load_dataset(tmp_path)
    with pytest.raises(DatasetError, match=r"values 7, which no class has.*255 = cell"):
        dataset.read(next(case for case in dataset.cases if case.name == "a0"))


def test_an_object_of_overlapping_classes_is_one_of_the_class_that_hides_the_others(tmp_path):
    card = "classes: [background, {name: core, value: 2}, {name: whole, values: [1, 2]}]"
    described(tmp_path, f"masks: instances\n{card}", values=(7, 7, 8))
    for index in range(5):
        write_png(tmp_path / "classes" / f"a{index}.png", mask_values(1, 2, 2))
    dataset = load_dataset(tmp_path)
    image, mask = dataset.read(dataset.cases[0])
    numbers = dataset.read_objects(dataset.cases[0], image, mask)
    assert dataset.legend.painted(mask.array)[0].tolist() == [2, 2, 2, 0, 0, 0]
    assert numbers[0].tolist() == [1, 1, 2, 0, 0, 0]
