"""Which cases are trained on and which are held back; a subject is never cut."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from seg.errors import DatasetError
from seg.held_out import held_out
from seg.images import stem_of
from seg.tables.comma_separated import column_called, read_any_table
from training.dataset.cases import Case
from training.dataset.dataset_yaml import CARD, DatasetYaml, SplitLists, Subjects
from training.dataset.names import composed
from training.dataset.text_files import said_of, text_of


def assign(
    folder: Path, card: DatasetYaml, cases: Sequence[Case], *, is_scored_only: bool = False
) -> tuple[Case, ...]:
    """The cases with their subjects and splits.

    Test cases are those that the folder has, those that ``dataset.yaml`` names, or a fifth. Of
    what is scored and never trained on, they are all where there is nothing to hold out.

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
    if has_test:
        return tuple(cases)
    if is_scored_only and len({case.group for case in cases}) < 2:
        return tuple(replace(case, split="test") for case in cases)
    return with_held_out(cases)


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
            f"all cases are of subject {min(groups)}, so none can be held back; add another "
            f"subject or name the test cases in {CARD}"
        )
    test = held_out(Counter(case.group for case in cases))
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
    listed = tuple(case_called(name, known) for name in listed)
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
    rows = rows_at(path)
    columns = list(rows[0]) if rows else []
    case, subject = (column_called(name, columns) for name in (card.case, card.subject))
    if case is None or subject is None:
        lacking = card.case if case is None else card.subject
        raise DatasetError(
            f"{path} needs a column {lacking}, it has {', '.join(columns) or 'no rows'}; name "
            f"the columns in subjects of {CARD}"
        )
    found: dict[str, str] = {}
    for row in rows:
        name, of = case_called(row[case] or "", names), (row[subject] or "").strip()
        if found.setdefault(name, of) != of:
            raise DatasetError(f"{path} says two subjects of case {name}: {found[name]} and {of}")
    for name in names:
        if not found.get(name):
            raise DatasetError(f"{path} says no subject for case {name}{_near(name, found)}")
    return found


def rows_at(path: Path) -> list[dict[str, str]]:
    """Of a table with a header, whose columns commas, semicolons or tabs part.

    Raises:
        DatasetError: it cannot be read.
    """
    try:
        return read_any_table(_text(path))[1]
    except csv.Error as error:
        raise DatasetError(f"{path} cannot be read as a table: {error}") from error


def case_called(written: str, known: Sequence[str]) -> str:
    """A case's name, which may be written as that of its file."""
    name = composed(written.strip())
    stem = stem_of(Path(name)) if name else name
    return stem if name not in known and stem in known else name


def _text(path: Path) -> str:
    try:
        return text_of(path)
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}, which {CARD} names: {said_of(error)}") from error


def _near(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


@dataclass(frozen=True)
class NamedAlike:
    """Cases whose names begin alike, as those of slices, tiles or sides of one subject do."""

    subject_of: Mapping[str, str]
    """Case name to what it shares with others."""
    pattern: str | None
    """For ``subjects`` in ``dataset.yaml``; None where no simple one gives the same."""


def subjects_in(names: Sequence[str]) -> NamedAlike | None:
    """Subjects that names seem to speak of; None where they speak of none.

    A word such as patient with a number counts wherever it stands. Else
    names are cut at separators, and where a letter follows on a digit. What counts is the shortest
    beginning that differs by a number, and that several names share.
    """
    said = _named_subjects(names) or _by_sides(names)
    if said is not None:
        return said
    cut = {name: [match.end() for match in _TOKEN.finditer(name)] for name in names}
    shortest = min(map(len, cut.values()), default=0)
    for tokens in range(1, shortest):
        subject_of = {name: name[: ends[tokens - 1]] for name, ends in cut.items()}
        sizes = Counter(subject_of.values())
        numbered = sum(any(c.isdigit() for c in _last_token(subject)) for subject in sizes)
        if len(sizes) < 2 or numbered < len(sizes) / 2:
            continue
        if len(names) < 1.5 * len(sizes):  # hardly a name shares its beginning from here on
            return None
        return NamedAlike(subject_of, _pattern_of(subject_of))
    return None


_SUBJECT = (
    r"(?:patient|subject|subj|sub|participant|volunteer|donor|mouse|animal|specimen|pat|pid)"
    r"[-_. ]?[0-9]+"
)


def _named_subjects(names: Sequence[str]) -> NamedAlike | None:
    """By the word that says what a subject is; None where not all names hold it, or none share."""
    matches = {name: re.search(rf"(?<![^\W\d_])({_SUBJECT})", name, re.I) for name in names}
    subject_of = {name: match[1] for name, match in matches.items() if match}
    count = len(set(subject_of.values()))
    if len(subject_of) < len(names) or not 2 <= count <= len(names) / 1.5:
        return None
    words = {re.sub(r"[0-9]+", "[0-9]+", re.escape(each)) for each in subject_of.values()}
    if len(words) > 1:
        return NamedAlike(subject_of, None)
    word = words.pop().replace("\\-", "-")
    is_first = all(name.startswith(subject) for name, subject in subject_of.items())
    pattern = f"({word}).*" if is_first else f".*?({word}).*"
    found = {name: re.match(pattern, name) for name in names}
    fits = all((match := found[name]) and match[1] == subject_of[name] for name in names)
    return NamedAlike(subject_of, pattern if fits else None)


_SIDE = re.compile(r"(left|right|l|r|od|os|links|rechts|li|re)[-_. ]+(.+)", re.IGNORECASE)
"""Of a body or a face, before what tells whose."""


def _by_sides(names: Sequence[str]) -> NamedAlike | None:
    """Where all names begin with a side; None where they do not, or hardly two share the rest."""
    matches = {name: _SIDE.fullmatch(name) for name in names}
    subject_of = {name: match[2] for name, match in matches.items() if match}
    count = len(set(subject_of.values()))
    if len(subject_of) < len(names) or not 2 <= count <= len(names) / 1.5:
        return None
    return NamedAlike(subject_of, "[a-zA-Z]+[-_. ]+(.+)")


_TOKEN = re.compile(r"[^\W\d_]*\d+|[^\W\d_]+")


def _last_token(subject: str) -> str:
    return str(_TOKEN.findall(subject)[-1])


def _pattern_of(subject_of: Mapping[str, str]) -> str | None:
    """The simplest pattern whose first group is the subject of every name."""
    name, subject = next(iter(subject_of.items()))
    like_it = re.sub(r"\d+", "[0-9]+", re.escape(subject).replace("\\-", "-"))
    patterns = [f"({like_it}).*"]
    if not (behind := name[len(subject)]).isalnum():
        patterns.append(f"([^{behind}]+){behind}.*")
    for pattern in patterns:
        matches = {name: re.match(pattern, name) for name in subject_of}
        if all((match := matches[name]) and match[1] == subject_of[name] for name in subject_of):
            return pattern
    return None
