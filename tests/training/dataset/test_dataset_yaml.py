import pytest

from seg.errors import DatasetError
from tests.datasets import plain_folder
from training.dataset import load_dataset, look_into


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
        pytest.param("classes: [{name: a}]", "background is a class too", id="one class"),
        pytest.param("classes: [{name: a}, {name: a}]", "different names", id="same name"),
        pytest.param(
            "classes: [{name: a, value: 1}, b]", "the same value", id="two classes of one value"
        ),
        pytest.param(
            "classes: [{name: a}, {name: b, value: 0}]", "list b first", id="0 is no class"
        ),
        pytest.param(
            "classes: [{name: a, value: 255}, {name: background, value: 0}]",
            "list background first",
            id="background last",
        ),
        pytest.param("classes: [background, yes]", "needs quotes", id="a name that is a truth"),
        pytest.param("classes: [background, 1]", "needs quotes", id="a name that is a number"),
        pytest.param("name: a\nname: b", "name is there twice in line 1", id="a field twice"),
        pytest.param("classes:\n\t- a", "cannot start any token in line 2", id="a tab"),
        pytest.param("- background\n- a", "holds fields and what they are", id="a list"),
        pytest.param("split: {test: []}", "at least one entry", id="no entry"),
        pytest.param("channels: 3", "a list is needed", id="no list"),
        pytest.param("split: {test: [z]}", "names z, which is no case", id="unknown case"),
        pytest.param("split: {test: [a0, a1, a2, a3, a4]}", "no case to train", id="all test"),
    ],
)
def test_a_dataset_yaml_that_does_not_fit_says_where(tmp_path, yaml, words):
    plain_folder(tmp_path)
    (tmp_path / "dataset.yaml").write_text(yaml)
    with pytest.raises(DatasetError, match=words):
        load_dataset(tmp_path)


def test_classes_may_be_names_with_their_values(tmp_path):
    plain_folder(tmp_path, values=(3, 5))
    (tmp_path / "dataset.yaml").write_text("classes: {background: 0, wall: [3, 5], core: 5}")
    dataset = load_dataset(tmp_path)
    assert [(info.name, info.values) for info in dataset.classes] == [
        ("background", (0,)),
        ("wall", (3, 5)),
        ("core", (5,)),
    ]


def test_a_first_class_that_sounds_like_one_to_be_found_is_told(tmp_path):
    plain_folder(tmp_path, values=(1,))
    (tmp_path / "dataset.yaml").write_text("classes: [nucleus, cell]")
    _, findings = look_into(tmp_path)
    assert ["nucleus, is taken for background" in each.problem for each in findings] == [True]
    (tmp_path / "dataset.yaml").write_text("classes: [unlabelled, background]")
    assert look_into(tmp_path)[1] == []
