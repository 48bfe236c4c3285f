import pytest

from seg.errors import DatasetError
from tests.datasets import plain_folder
from training.dataset import load_dataset


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
        pytest.param("subject: {pattern: a}", "did you mean subjects?", id="nested name"),
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
