"""Which cases are trained on and which are held out; a subject is never cut."""

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from seg.errors import DatasetError
from training.dataset.cases import Case
from training.dataset.dataset_yaml import CARD, DatasetYaml, SplitLists, Subjects

TEST_SHARE = 0.2
"""Share of the cases held out where the folder names no test cases."""


def assign(folder: Path, card: DatasetYaml, cases: Sequence[Case]) -> tuple[Case, ...]:
    """The cases with their subjects and splits.

    Test cases are those that the folder has, those that ``dataset.yaml`` names, or a fifth.

    Raises:
        DatasetError: subjects or lists do not fit the cases.
    """
    names = [case.name for case in cases]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DatasetError(f"two cases are called {min(twice)}, as in train and test; rename one")
    if card.subjects:
        subject_of = _subjects(folder, card.subjects, names)
        cases = [replace(case, subject=subject_of[case.name]) for case in cases]
    has_test = any(case.split == "test" for case in cases)
    if card.split and has_test:
        raise DatasetError(f"{folder} has test cases of its own and a split in {CARD}; keep one")
    if card.split:
        return _listed(folder, card.split, cases)
    return tuple(cases) if has_test else with_held_out(cases)


def with_held_out(cases: Sequence[Case]) -> tuple[Case, ...]:
    """The cases with a fifth of them, at least one, as the test split.

    Those with the smallest hashes of their subjects' names, or of their own: neither the order of
    the files nor a random seed matters, and one more case moves at most one other.

    Raises:
        DatasetError: there are fewer than two cases, or all are of one subject.
    """
    if len(cases) < 2:
        raise DatasetError(
            f"a dataset needs at least 2 cases, one to train and one to test on, got {len(cases)}; "
            "add cases or cut the image into two regions"
        )
    groups = {case.group for case in cases}
    if len(groups) < 2:
        raise DatasetError(
            f"all cases are of subject {min(groups)}, so none can be held out; add another subject "
            f"or name the test cases in {CARD}"
        )
    ordered = sorted(groups, key=lambda group: hashlib.sha256(group.encode()).digest())
    sizes = Counter(case.group for case in cases)
    test = {ordered[0]}
    for group in ordered[1:-1]:
        if sum(sizes[each] for each in test) >= max(1, round(TEST_SHARE * len(cases))):
            break
        test.add(group)
    return tuple(replace(c, split="test" if c.group in test else "train") for c in cases)


def _listed(folder: Path, split: SplitLists, cases: Sequence[Case]) -> tuple[Case, ...]:
    names = [case.name for case in cases]
    test = _names(folder, split.test, names)
    train = set(names) - test if split.train is None else _names(folder, split.train, names)
    if test & train:
        raise DatasetError(f"split in {CARD} has {min(test & train)} in train and in test")
    if not train:
        raise DatasetError(f"split in {CARD} leaves no case to train on")
    left = set(names) - test - train
    if left:
        raise DatasetError(
            f"split in {CARD} has {min(left)} neither in train nor in test; add it to one of them"
        )
    return tuple(replace(c, split="test" if c.name in test else "train") for c in cases)


def _names(folder: Path, listed: tuple[str, ...] | str, known: Sequence[str]) -> set[str]:
    if isinstance(listed, str):
        listed = tuple(line for raw in _text(folder / listed).splitlines() if (line := raw.strip()))
    for name in listed:
        if name not in known:
            raise DatasetError(
                f"split in {CARD} names {name}, which is no case{_near(name, known)}"
            )
    return set(listed)


def _subjects(folder: Path, card: Subjects, names: Sequence[str]) -> Mapping[str, str]:
    if card.file:
        return _from_table(folder / card.file, card, names)
    try:
        pattern = re.compile(str(card.pattern))
    except re.error as error:
        raise DatasetError(
            f"subjects in {CARD}: {card.pattern!r} is no pattern: {error}"
        ) from error
    found = {}
    for name in names:
        match = pattern.match(name)
        if match is None:
            raise DatasetError(
                f"subjects in {CARD}: case {name} does not match {card.pattern!r}; correct the "
                "pattern or the name"
            )
        found[name] = match[1] if pattern.groups and match[1] is not None else match[0]
    return found


def _from_table(path: Path, card: Subjects, names: Sequence[str]) -> Mapping[str, str]:
    rows = list(csv.DictReader(_text(path).splitlines()))
    columns = list(rows[0]) if rows else []
    for column in (card.case, card.subject):
        if column not in columns:
            raise DatasetError(
                f"{path} needs a column {column}, it has {', '.join(columns) or 'no rows'}; name "
                f"the columns in subjects of {CARD}"
            )
    found = {row[card.case]: row[card.subject] for row in rows}
    for name in names:
        if not found.get(name):
            raise DatasetError(f"{path} says no subject for case {name}{_near(name, found)}")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}, which {CARD} names, cannot be read: {error}") from error


def _near(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""
