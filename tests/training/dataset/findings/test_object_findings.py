from pathlib import Path

import numpy as np
import pytest
import tifffile

from seg.errors import DatasetError
from tests.instances import cells, instance_folder
from training.dataset import inspect, load_dataset
from training.dataset.findings.objects import object_findings
from training.dataset.look import check_folder

FILE = Path("a.tif")


def problems(numbers, labels=None):
    labels = (numbers > 0).astype(np.uint8) if labels is None else labels
    return [finding.problem for finding in object_findings(FILE, numbers, labels)]


@pytest.fixture
def numbers():
    drawn = np.zeros((60, 80), np.int32)
    drawn[10:20, 10:20] = 4
    drawn[30:40, 30:45] = 9
    return drawn


def test_sound_objects_are_not_complained_about(numbers):
    assert problems(numbers) == []


def test_an_object_in_pieces_is_found(numbers):
    numbers[50:54, 60:64] = 9
    assert problems(numbers) == ["1 of 2 objects are in several pieces"]


def test_places_with_a_class_and_no_object_are_found(numbers):
    labels = (numbers > 0).astype(np.uint8)
    labels[50:55, 50:60] = 1
    assert problems(numbers, labels) == ["17% of what has a class belongs to no object"]
    assert problems(np.zeros_like(numbers), labels) == [
        "100% of what has a class belongs to no object"
    ]


def test_numbers_whose_thousands_are_classes_are_found():
    of_classes = np.where(SQUARES > 0, SQUARES % 6 + 1000 * (1 + SQUARES // 6), 0)
    (said,) = problems(of_classes)
    assert said.startswith("the numbers begin anew in each thousand, with 1001 and 2000")
    assert problems(of_classes, (of_classes > 0) + (of_classes > 2000).astype(np.uint8)) == []
    assert problems(np.where(SQUARES > 0, SQUARES + 995, 0)) == []


SQUARES = np.kron(np.arange(1, 13).reshape(3, 4), np.pad(np.ones((6, 6), np.int32), 3))


def with_crumbs():
    """A corner of each has the number of another one."""
    numbers = SQUARES.copy()
    numbers[3::12, 3::12] = np.roll(numbers[3::12, 3::12], 2, axis=1)
    return numbers


def anew(volume):
    """Numbered from 1 in each slice."""
    found = [np.unique(each, return_inverse=True)[1].reshape(each.shape) for each in volume]
    return np.stack(found).astype(np.int32)


def by_slices():
    """Squares that grow fewer from slice to slice, from the first one on."""
    return np.stack([np.where(at < SQUARES, SQUARES, 0) for at in range(4)])


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        pytest.param(np.where(SQUARES > 0, SQUARES + 243, 0) % 256, None, id="as they are"),
        pytest.param(np.minimum(SQUARES + 247 * (SQUARES > 0), 255), "end at 255", id="clipped"),
        pytest.param(with_crumbs(), "interpolated", id="smoothed"),
        pytest.param(
            np.where(np.kron(np.ones((3, 4)), np.pad(np.ones((4, 4)), 4)) > 0, 0, SQUARES),
            "12 holes in 12 objects",
            id="outlines",
        ),
        pytest.param(by_slices(), None, id="volume"),
        pytest.param(anew(by_slices()), "begin with 1 in every slice", id="anew"),
        pytest.param(
            by_slices() + 20 * np.arange(4)[:, None, None] * (by_slices() > 0),
            "42 objects are one slice thick",
            id="slice by slice",
        ),
        pytest.param(
            by_slices() * np.eye(4, dtype=int)[0, :, None, None], "slice 0 of 4", id="one"
        ),
    ],
)
def test_numbers_that_are_none_of_objects_are_told_by_what_made_them(numbers, words):
    found = problems(numbers.astype(np.int32))
    assert len(found) == bool(words)
    assert not words or words in found[0]


def test_slips_of_the_pen_are_found(numbers):
    numbers[50, 60] = 12
    assert problems(numbers) == ["1 of 3 objects are of fewer than 10 voxels"]


def test_an_object_in_two_classes_and_one_in_none_are_found(numbers):
    labels = (numbers > 0).astype(np.uint8)
    labels[30:35, 30:45] = 2
    labels[10:20, 10:20] = 0
    assert problems(numbers, labels) == [
        "1 of 2 objects are without a class",
        "1 of 2 objects are in several classes",
    ]


def test_seams_of_tiles_are_found():
    numbers = np.zeros((60, 80), np.int32)
    for number, top in enumerate((2, 22, 42)):
        numbers[top : top + 15, 30:40] = 2 * number + 1
        numbers[top : top + 15, 40:50] = 2 * number + 2
    assert problems(numbers) == ["6 of 6 objects are cut straight along many voxels"]


def test_a_folder_of_objects_is_read_by_number_and_its_check_names_files(tmp_path):
    folder = instance_folder(tmp_path / "cells")
    dataset = load_dataset(folder)
    assert dataset.has_objects
    image, mask = dataset.read(dataset.cases[0])
    numbers = dataset.read_objects(dataset.cases[0], image, mask)
    assert numbers.max() == len(np.unique(cells(0)[1])) - 1
    assert ((numbers > 0) == (mask.array > 0)).all()
    other = folder / "masks" / "well_3.tif"
    broken = tifffile.imread(other)
    broken[0, :3] = 999
    tifffile.imwrite(other, broken)
    found = [f for f in inspect(load_dataset(folder), progress=False) if f.where == str(other)]
    assert any("fewer than 10 voxels" in finding.problem for finding in found)


CLASSES = "masks: instances\nclasses: [background, small, large]\n"


def test_classes_of_objects_come_from_masks_of_classes(tmp_path):
    folder = instance_folder(tmp_path / "cells", text=CLASSES)
    (folder / "classes").mkdir()
    for path in sorted((folder / "masks").iterdir()):
        numbers = tifffile.imread(path)
        classes = np.where(numbers > 13, 2, numbers > 0).astype(np.uint8)
        tifffile.imwrite(folder / "classes" / path.name, classes)
    dataset = load_dataset(folder)
    _, mask = dataset.read(dataset.cases[0])
    assert set(np.unique(mask.array)) == {0, 1, 2}
    assert dataset.has_objects


def test_classes_of_objects_come_from_a_table(tmp_path):
    folder = instance_folder(tmp_path / "cells", text=CLASSES + "objects: kinds.csv\n")
    rows = ["case,label,class"]
    for path in sorted((folder / "masks").iterdir()):
        for number in np.unique(tifffile.imread(path))[1:]:
            rows.append(f"{path.stem},{number},{'large' if number > 13 else 'small'}")
    (folder / "kinds.csv").write_text("\n".join(rows))
    dataset = load_dataset(folder)
    case = dataset.cases[0]
    numbers = tifffile.imread(case.objects)
    np.testing.assert_array_equal(
        dataset.read(case)[1].array, np.where(numbers > 13, 2, numbers > 0)
    )
    (folder / "kinds.csv").write_text("\n".join(rows[:3]))
    short = load_dataset(folder)
    with pytest.raises(DatasetError, match="no row for"):
        short.read(short.cases[-1])


def test_several_classes_without_a_word_on_the_objects_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="say the class of each object"):
        load_dataset(instance_folder(tmp_path / "cells", text=CLASSES))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        pytest.param("well_0,1,large", "two classes of object 1 of case well_0", id="twice"),
        pytest.param("well_0,0,large", "0 is what belongs to no object", id="background"),
        pytest.param("well_0,one,large", "a label is a whole number", id="word"),
        pytest.param("well_0,1,huge", "names the class 'huge'", id="class"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(row, words, tmp_path):
    folder = instance_folder(tmp_path / "cells", cases=2, text=CLASSES + "objects: kinds.csv\n")
    (folder / "kinds.csv").write_text(f"case,label,class\nwell_0,1,small\n{row}\n")
    with pytest.raises(DatasetError, match=words):
        load_dataset(folder)


def test_a_table_may_name_files_and_what_it_says_too_much_is_told(tmp_path):
    folder = instance_folder(tmp_path / "cells", cases=2, text=CLASSES + "objects: kinds.csv\n")
    rows = [f"well_{case}.tif,{n}.0, small" for case in range(2) for n in range(1, 40)]
    (folder / "kinds.csv").write_text("\n".join(["Case,label,class", *rows, "else,1,small"]))
    dataset = load_dataset(folder)
    assert dataset.read(dataset.cases[0])[1].array.max() == 1
    said = [finding.problem for finding in check_folder(folder, progress=False).findings]
    assert any("1 cases of the table are not there, such as else" in each for each in said)
    assert any("rows of the table are of numbers that are not there" in each for each in said)


def test_black_and_white_masks_are_no_numbered_objects(tmp_path):
    folder = instance_folder(tmp_path / "cells", cases=3)
    for path in (folder / "masks").iterdir():
        tifffile.imwrite(path, (tifffile.imread(path) > 0).astype(np.uint8) * 255)
    first = inspect(load_dataset(folder), progress=False)[0]
    assert first.severity == "error"
    assert "3 of 3 objects lie in several pieces" in first.problem


@pytest.mark.parametrize(
    ("text", "change", "words"),
    [
        pytest.param("ignore: 5\n", 1, "5 is ignored, and stands among", id="ignored"),
        pytest.param("split: {test: [well_2]}\n", 4, "16 times as large", id="test"),
    ],
)
def test_what_the_numbers_of_a_folder_leave_out_is_told(text, change, words, tmp_path):
    folder = instance_folder(tmp_path / "cells", cases=3, text="masks: instances\n" + text)
    for part in ("images", "masks"):
        path = folder / part / "well_2.tif"
        array = tifffile.imread(path)
        tifffile.imwrite(path, np.kron(array, np.ones((change, change), array.dtype)))
    said = [finding.problem for finding in check_folder(folder, progress=False).findings]
    assert any(words in each for each in said)
