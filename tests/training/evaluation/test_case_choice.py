"""Cases that a package was trained on are not scored unless that is asked for."""

import json
import re

import numpy as np
import pytest

from seg.errors import DatasetError
from seg.images import ClassInfo, read_image, write_image
from seg.model_package import ModelPackage, write_card
from tests.datasets import mask_values, plain_folder, write_png
from tests.packages import write_package
from training import compare, evaluate
from training.dataset import check_and_measure, load_dataset
from training.dataset.cases import image_digest
from training.dataset.findings import one_case
from training.dataset.findings.inspection import Looks
from training.evaluation.case_choice import choose_cases

VALUES = {"background": 0, "cytoplasm": 3, "nucleus": 7}


@pytest.fixture
def data(tmp_path):
    return plain_folder(tmp_path / "data", values=(3, 7), cases=6, image_shape=(4, 6))


def packaged(folder, dataset=None, *, names=None, values=VALUES):
    """A package that says that it was trained on the training cases of the dataset."""
    write_package(folder, patch=(16, 16))
    card = ModelPackage.load(folder).card
    classes = tuple(
        ClassInfo(
            index=info.index,
            name=(names or {}).get(info.name, info.name),
            color=info.color,
            values=(values[info.name],),
        )
        for info in card.classes
    )
    trained_on = tuple(image_digest(case) for case in dataset.train) if dataset else ()
    provenance = card.provenance.model_copy(update={"trained_on": trained_on})
    write_card(folder, card.model_copy(update={"classes": classes, "provenance": provenance}))
    return folder


def card_of(folder):
    return ModelPackage.load(folder).card


def names(cases):
    return {case.name for case in cases}


def test_of_the_folder_of_the_training_the_test_cases_are_scored(data, tmp_path):
    dataset = load_dataset(data)
    chosen = choose_cases(card_of(packaged(tmp_path / "p", dataset)), dataset, None)
    assert (names(chosen.cases), chosen.split, chosen.left_out) == (names(dataset.test), "test", "")


def test_of_another_folder_all_cases_are_scored(data, tmp_path):
    package = packaged(tmp_path / "p", load_dataset(data))
    other = tmp_path / "other"
    for index in range(3):
        write_png(other / "images" / f"a{index}.png", mask_values(index + 1, 99))
        write_png(other / "masks" / f"a{index}.png", mask_values(3, 7))
    chosen = choose_cases(card_of(package), load_dataset(other), None)
    assert (names(chosen.cases), chosen.split) == ({"a0", "a1", "a2"}, "all")


def test_what_was_trained_on_is_left_out_whatever_it_is_called_now(data, tmp_path):
    before = load_dataset(data)
    package = packaged(tmp_path / "p", before)
    for index in range(3):
        write_png(data / "images" / f"b{index}.png", mask_values(99, index))
        write_png(data / "masks" / f"b{index}.png", mask_values(3, 7))
    renamed = before.train[0].images[0]
    renamed.rename(renamed.with_name("z.png"))
    before.train[0].mask.rename(before.train[0].mask.with_name("z.png"))
    chosen = choose_cases(card_of(package), load_dataset(data), None)
    assert names(chosen.cases) == names(before.test) | {"b0", "b1", "b2"}
    assert chosen.left_out == f"left out: {len(before.train)} cases that the package was trained on"


def test_copies_in_another_format_were_trained_on_too(data, tmp_path):
    for index, file in enumerate(sorted((data / "images").iterdir())):
        write_png(file, mask_values(index, 99))
    dataset = load_dataset(data)
    _, fingerprint = check_and_measure(dataset)
    contents = tuple(fingerprint.contents[case.name] for case in dataset.train)
    card = card_of(packaged(tmp_path / "p"))
    told = {"trained_on": ("0" * 16,), "trained_contents": contents}
    card = card.model_copy(update={"provenance": card.provenance.model_copy(update=told)})
    for case in dataset.cases:
        write_image(case.images[0].with_suffix(".tif"), read_image(case.images[0]))
        case.images[0].unlink()
    chosen = choose_cases(card, load_dataset(data), None)
    assert names(chosen.cases) == names(dataset.test)


def test_what_was_read_for_the_choice_is_not_read_again_for_doubts(data, monkeypatch, tmp_path):
    dataset, read = load_dataset(data), []
    card = card_of(packaged(tmp_path / "p"))
    told = {"trained_on": ("0" * 16,), "trained_contents": ("1" * 16,)}
    card = card.model_copy(update={"provenance": card.provenance.model_copy(update=told)})
    really = one_case.read_channels
    monkeypatch.setattr(
        one_case, "read_channels", lambda *a, **k: (read.append(a), really(*a, **k))[1]
    )
    looks = Looks(dataset)
    chosen = choose_cases(card, dataset, None, looks)
    looks.doubts(chosen.cases)
    assert len(read) == len(dataset.cases) == len(chosen.cases)


def test_where_all_were_trained_on_none_is_scored_in_silence(data, tmp_path):
    dataset = load_dataset(data)
    package = packaged(tmp_path / "p", dataset)
    for case in dataset.test:
        case.images[0].unlink()
        case.mask.unlink()
    again = load_dataset(data)
    with pytest.raises(DatasetError, match="was trained on all"):
        choose_cases(card_of(package), again, None)
    assert choose_cases(card_of(package), again, "train").cases == again.train
    assert choose_cases(card_of(package), again, "all").cases == again.cases


def test_a_package_that_does_not_say_what_it_was_trained_on_leaves_out_and_tells(data, tmp_path):
    dataset = load_dataset(data)
    chosen = choose_cases(card_of(packaged(tmp_path / "p", None)), dataset, None)
    assert names(chosen.cases) == names(dataset.test)
    assert "--split all scores them too" in chosen.left_out


def test_one_annotated_image_is_enough(data, tmp_path, capsys):
    package = packaged(tmp_path / "p", load_dataset(data))
    other = plain_folder(tmp_path / "other", values=(7,), cases=1, image_shape=(24, 20))
    write_png(other / "masks" / "a0.png", mask_values(7, size=(24, 20)))
    out = tmp_path / "metrics.json"
    assert evaluate.main([str(package), str(other), "--out", str(out)]) == 0
    scores = json.loads(out.read_text())
    assert [case["case"] for case in scores["cases"]] == ["a0"]
    assert scores["summary"]["nucleus"]["cases"] == 1
    # an interval of one case would be that case twice
    assert not re.search(r"\d to \d", capsys.readouterr().out)


def test_masks_of_other_images_are_told_before_they_are_scored(data, tmp_path, capsys):
    package = packaged(tmp_path / "p", load_dataset(data))
    other = tmp_path / "other"
    for index in range(3):
        for part, at in (("images", index), ("masks", (index + 1) % 3)):
            values = np.zeros((24, 20))
            values[8 * at : 8 * at + 6, 3:17] = 255 if part == "images" else 7
            write_png(other / part / f"a{index}.png", values)
    out = tmp_path / "metrics.json"
    assert evaluate.main([str(package), str(other), "--out", str(out), "--split", "all"]) == 0
    assert "3 masks fit another image better than their own" in capsys.readouterr().err


def test_two_packages_are_compared_where_their_classes_are_called_otherwise(data, tmp_path):
    dataset = load_dataset(data)
    for case in dataset.cases:
        write_png(case.images[0], mask_values(127, 255, size=(24, 20)))
        write_png(case.mask, mask_values(3, 7, size=(24, 20)))
    dataset = load_dataset(data)
    a = packaged(tmp_path / "a", dataset)
    b = packaged(tmp_path / "b", dataset, names={"cytoplasm": "class_1", "nucleus": "class_2"})
    out = tmp_path / "comparison.json"
    assert compare.main([str(a), str(b), str(data), "--split", "all", "--out", str(out)]) == 0
    comparison = json.loads(out.read_text())
    assert len(comparison["cases"]) == 6
    assert {each["region"] for each in comparison["differences"]} >= {"cytoplasm", "nucleus"}
