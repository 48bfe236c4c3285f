"""A resume notices what changed in the data since the run began."""

import pytest

from seg.errors import ConfigError, DatasetError
from tests.datasets import mask_values, plain_folder, write_png
from training.dataset import load_dataset
from training.run.data_record import DataRecord, as_recorded, read_record


@pytest.fixture
def begun(tmp_path):
    """A folder of data, and what a run noted of it."""
    folder = plain_folder(tmp_path / "data", cases=8)
    DataRecord.of(load_dataset(folder)).write(tmp_path / "data.json")
    return folder, tmp_path / "data.json"


def names(cases):
    return [case.name for case in cases]


def refused(begun):
    with pytest.raises(DatasetError, match="changed since the run began") as error:
        as_recorded(load_dataset(begun[0]), read_record(begun[1]))
    return str(error.value)


def test_data_that_are_the_same_go_on(begun):
    dataset = load_dataset(begun[0])
    again, new = as_recorded(dataset, read_record(begun[1]))
    assert (again.cases, new) == (dataset.cases, [])


@pytest.mark.parametrize("part", ["images", "masks"])
def test_files_that_changed_are_named(begun, part):
    same_size = mask_values(255, 0, 255)
    write_png(begun[0] / part / "a3.png", same_size)
    assert f"the {part[:-1]} of a3 changed" in refused(begun)


def test_cases_that_are_gone_are_named_without_what_follows_from_it(begun):
    gone = load_dataset(begun[0]).test[0].name
    for part in ("images", "masks"):
        (begun[0] / part / f"{gone}.png").unlink()
    message = refused(begun)
    assert f"{gone} is no longer there" in message
    assert "another split" not in message


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        pytest.param(
            "masks: colors\nclasses: [{name: none, color: [0, 0, 0]}, {name: a, color: [1, 1, 1]},"
            " {name: b, color: [2, 2, 2]}]",
            "masks: colors\nclasses: [{name: none, color: [0, 0, 0]}, {name: a, color: [2, 2, 2]},"
            " {name: b, color: [1, 1, 1]}]",
            "which class in the masks is another",
            id="colors change places",
        ),
        pytest.param(
            "classes: [background, a]",
            "classes: [background, a]\nignore: 2",
            "which class in the masks is another",
            id="a value to ignore",
        ),
        pytest.param(
            "left_right: x", "left_right: y", "left_right was x and is y", id="left and right"
        ),
    ],
)
def test_a_card_that_reads_masks_otherwise_is_refused(before, after, said, tmp_path):
    folder = plain_folder(tmp_path / "data", values=(1,))
    (folder / "dataset.yaml").write_text(before)
    DataRecord.of(load_dataset(folder)).write(tmp_path / "data.json")
    (folder / "dataset.yaml").write_text(after)
    assert said in refused((folder, tmp_path / "data.json"))


def test_numbers_of_objects_that_changed_are_named(tmp_path):
    folder = plain_folder(tmp_path / "data", values=(1, 2))
    (folder / "dataset.yaml").write_text(
        "masks: instances\nclasses: [background, {name: a, value: 1}, {name: b, value: 2}]"
    )
    for mask in sorted((folder / "masks").iterdir()):
        write_png(folder / "classes" / mask.name, mask_values(1, 2))
    DataRecord.of(load_dataset(folder)).write(tmp_path / "data.json")
    write_png(folder / "masks" / "a3.png", mask_values(2, 1))
    assert "the objects of a3 changed" in refused((folder, tmp_path / "data.json"))


def test_a_record_of_an_older_run_goes_on(begun):
    record = read_record(begun[1])
    cases = {name: case.model_copy(update={"objects": None}) for name, case in record.cases.items()}
    older = record.model_copy(update={"meaning": None, "left_right": None, "cases": cases})
    as_recorded(load_dataset(begun[0]), older)


def test_a_new_case_is_left_out_and_moves_nothing(begun):
    before = load_dataset(begun[0])
    for index in range(20):
        write_png(begun[0] / "images" / f"new{index}.png", mask_values(index + 1))
        write_png(begun[0] / "masks" / f"new{index}.png", mask_values(255))
    after = load_dataset(begun[0])
    assert names(after.test) != names(before.test)
    dataset, new = as_recorded(after, read_record(begun[1]))
    assert names(dataset.test) == names(before.test)
    assert names(dataset.train) == names(before.train)
    assert len(new) == 20


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("split: {test: [a0, a1]}", "in another split"),
        ("classes: [background, {name: cell, value: 255}]", "its classes were background (0), cla"),
        ("channels: [{name: light}]", "its channels were channel_0 and are light"),
        ('subjects: {pattern: "a[0-3]"}\nsplit: {test: [a0]}', "another subject"),
    ],
)
def test_another_card_is_told(begun, text, said):
    if "pattern" in text:
        text = (
            'subjects: {pattern: "(a).*"}\n'
            + f"split: {{test: {names(load_dataset(begun[0]).test)}}}"
        )
    (begun[0] / "dataset.yaml").write_text(text)
    assert said in refused(begun)


def test_a_record_that_is_damaged_is_refused(begun):
    begun[1].write_bytes(begun[1].read_bytes()[:-20])
    with pytest.raises(ConfigError, match="no record of a run's data"):
        read_record(begun[1])
