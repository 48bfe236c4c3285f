"""Cases to folds: every training case is held back once, and no subject is cut."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from seg.errors import DatasetError
from training.dataset import Case, Dataset


def split_folds(cases: Sequence[Case], folds: int) -> tuple[tuple[Case, ...], ...]:
    """The cases that each fold holds back, as even as the subjects allow.

    Subjects go to folds by the hashes of their names, so neither the order of the files nor a
    random seed matters; the largest subjects go first, each to the fold with the fewest cases.

    Raises:
        DatasetError: there are fewer subjects than folds.
    """
    subjects: dict[str, list[Case]] = {}
    for case in cases:
        subjects.setdefault(case.group, []).append(case)
    if len(subjects) < folds:
        raise DatasetError(
            f"{folds} folds need at least {folds} subjects to train on, got {len(subjects)}; "
            "choose fewer folds"
        )
    held: list[list[Case]] = [[] for _ in range(folds)]
    for subject in sorted(subjects, key=lambda name: (-len(subjects[name]), _digest(name))):
        min(held, key=len).extend(subjects[subject])
    return tuple(tuple(sorted(each, key=lambda case: case.name)) for each in held)


def fold_of(dataset: Dataset, folds: int, fold: int) -> Dataset:
    """The dataset as one fold sees it: what it holds back takes the place of the test cases.

    Raises:
        DatasetError: there are fewer subjects than folds.
    """
    held = {case.name for case in split_folds(dataset.train, folds)[fold]}
    return replace(
        dataset,
        cases=tuple(
            replace(case, split="test" if case.name in held else "train") for case in dataset.train
        ),
    )


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()
