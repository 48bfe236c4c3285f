from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from seg.errors import DatasetError
from tests.datasets import mask_values, plain_folder, write_png
from training.dataset import load_dataset
from training.dataset.cases import Case
from training.dataset.splits import with_held_out


def test_a_test_folder_is_the_test_split(tmp_path):
    plain_folder(tmp_path, cases=2)
    for kind in ("images", "masks"):
        write_png(tmp_path / "test" / kind / "b.png", mask_values(255))
    dataset = load_dataset(tmp_path)
    assert [c.name for c in dataset.train] == ["a0", "a1"]
    assert [c.name for c in dataset.test] == ["b"]


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


def patients(folder, *, visits=3, count=4, card=""):
    for patient in range(count):
        for visit in range(visits):
            write_png(folder / "images" / f"p{patient}_v{visit}.png", np.zeros((4, 6)))
            write_png(folder / "masks" / f"p{patient}_v{visit}.png", mask_values(1))
    (folder / "dataset.yaml").write_text(card)
    return folder


@given(st.dictionaries(st.text(min_size=1), st.sampled_from("abcd"), min_size=2, max_size=30))
def test_a_subject_never_lies_on_both_sides(subject_of):
    assume(len(set(subject_of.values())) > 1)
    cases = [replace(c, subject=subject_of[c.name]) for c in cases_named(list(subject_of))]
    split = with_held_out(cases)
    sides = {name: {c.subject for c in split if c.split == name} for name in ("train", "test")}
    assert not sides["train"] & sides["test"]
    assert all(sides.values())


def test_subjects_by_a_pattern_on_names(tmp_path):
    dataset = load_dataset(patients(tmp_path, card='subjects: {pattern: "(p[0-9]+)_"}'))
    assert {c.subject for c in dataset.cases} == {"p0", "p1", "p2", "p3"}
    assert len({c.subject for c in dataset.test}) == 1
    assert len(dataset.test) == 3


def test_subjects_by_a_table(tmp_path):
    patients(tmp_path, card="subjects: {file: who.csv, case: scan, subject: patient}")
    rows = [f"p{p}_v{v},{'x' if p < 2 else 'y'}" for p in range(4) for v in range(3)]
    (tmp_path / "who.csv").write_text("\n".join(["scan,patient", *rows]))
    dataset = load_dataset(tmp_path)
    assert {len(dataset.train), len(dataset.test)} == {6}
    assert len({c.subject for c in dataset.test}) == 1


@pytest.mark.parametrize("row", ["{case};{subject}", "{case}.png\t{subject}", " {case} ,{subject}"])
def test_a_table_may_be_written_as_spreadsheets_do(row, tmp_path):
    patients(tmp_path, card="subjects: {file: who.csv}")
    rows = [row.format(case=f"p{p}_v{v}", subject=f"s{p // 2}") for p in range(4) for v in range(3)]
    text = "\n".join([row.replace(".png", "").format(case="Case", subject="Subject"), *rows])
    (tmp_path / "who.csv").write_text(text, encoding="utf-8-sig")
    assert {c.name: c.subject for c in load_dataset(tmp_path).cases}["p3_v1"] == "s1"


def test_a_case_of_two_subjects_is_refused(tmp_path):
    patients(tmp_path, card="subjects: {file: who.csv}")
    (tmp_path / "who.csv").write_text("case,subject\np0_v0,a\np0_v0,b\n")
    with pytest.raises(DatasetError, match="two subjects of case p0_v0: a and b"):
        load_dataset(tmp_path)


def test_a_case_may_be_named_by_its_file(tmp_path):
    patients(tmp_path, card="split: {test: [p1_v0.png]}")
    assert [c.name for c in load_dataset(tmp_path).test] == ["p1_v0"]


def test_own_lists_from_a_file(tmp_path):
    patients(tmp_path, card="split: {test: test.txt}")
    (tmp_path / "test.txt").write_text("p1_v0\n\np2_v2\n")
    assert [c.name for c in load_dataset(tmp_path).test] == ["p1_v0", "p2_v2"]


@pytest.mark.parametrize(
    ("card", "words"),
    [
        pytest.param('subjects: {pattern: "q"}', "p0_v0 does not match 'q'", id="no match"),
        pytest.param('subjects: {pattern: "("}', "is no pattern", id="no pattern"),
        pytest.param('subjects: {pattern: "p"}', "all cases are of subject p", id="one subject"),
        pytest.param(
            "subjects: {file: none.csv}", "none.csv, which dataset.yaml names", id="no table"
        ),
        pytest.param("subjects: {file: dataset.yaml}", "needs a column case", id="no column"),
        pytest.param("subjects: {}", "either a pattern or a file", id="neither"),
        pytest.param("split: {test: [p0v0]}", "no case; did you mean p0_v0", id="near name"),
        pytest.param("split: {test: [p0_v0], train: [p0_v1]}", "neither in train nor", id="left"),
        pytest.param(
            "split: {test: [p0_v0], train: [p0_v0, p1_v0]}", "in train and in test", id="both"
        ),
    ],
)
def test_subjects_and_lists_that_do_not_fit_are_refused(tmp_path, card, words):
    with pytest.raises(DatasetError, match=words):
        load_dataset(patients(tmp_path, card=card))
