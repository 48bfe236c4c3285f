from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seg.errors import DatasetError
from training.dataset import Case
from training.dataset.folds import split_folds


def cases(subjects):
    """One case for each subject's name in the list."""
    return [
        Case(
            name=f"c{number:03}",
            images=(Path("i"),),
            mask=Path("m"),
            split="train",
            subject=subject,
        )
        for number, subject in enumerate(subjects)
    ]


SUBJECTS = st.lists(st.sampled_from("abcdefgh"), min_size=6, max_size=40)


@given(SUBJECTS, st.integers(2, 5))
def test_every_case_is_held_back_once_and_no_subject_is_cut(subjects, folds):
    given_cases = cases(subjects)
    if len(set(subjects)) < folds:
        with pytest.raises(DatasetError, match=f"{folds} folds need at least {folds} subjects"):
            split_folds(given_cases, folds)
        return
    held = split_folds(given_cases, folds)
    assert sorted(c.name for fold in held for c in fold) == [c.name for c in given_cases]
    assert all(held)
    where = [{case.subject for case in fold} for fold in held]
    assert sum(map(len, where)) == len(set(subjects))


@given(st.integers(6, 40), st.integers(2, 5), st.randoms(use_true_random=False))
def test_without_subjects_folds_are_even_and_the_order_of_files_does_not_matter(n, folds, random):
    alone = [replace(case, subject=None) for case in cases(["x"] * n)]
    held = split_folds(alone, folds)
    assert max(map(len, held)) - min(map(len, held)) <= 1
    random.shuffle(alone)
    assert split_folds(alone, folds) == held
