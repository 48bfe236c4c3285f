"""What only shows when all cases of a dataset are held beside each other."""

from collections import defaultdict
from collections.abc import Sequence
from typing import get_args

import numpy as np
from jaxtyping import Float32

from training.dataset.cases import Case, Dataset, Split
from training.dataset.dataset_yaml import CARD
from training.dataset.findings.duplicates import (
    NEARLY_THE_SAME,
    alike_pairs,
    most_alike,
    turned,
)
from training.dataset.findings.exchanged import exchanged_classes
from training.dataset.findings.finding import Finding
from training.dataset.findings.object_cases import objects_over
from training.dataset.findings.one_case import InspectedCase
from training.dataset.findings.palettes import drawn_on, permuted_colors
from training.dataset.findings.scales import other_scales
from training.dataset.findings.sketches import shared_parts
from training.dataset.findings.unannotated import bare_parts, unannotated_slices
from training.dataset.findings.wrong_masks import wrong_masks
from training.dataset.legend import IGNORE
from training.dataset.splits import subjects_in

SPLITS: tuple[Split, ...] = get_args(Split)


def findings_over(dataset: Dataset, cases: Sequence[InspectedCase]) -> list[Finding]:
    """All that is wrong with cases that may be sound one by one."""
    return [
        *_classes_nobody_shows(dataset, cases),
        *objects_over(dataset, cases),
        *_spacing_that_some_lack(cases),
        *_place_that_some_lack(dataset, cases),
        *_subjects_on_both_sides(dataset),
        *_subjects_in_names(dataset),
        *_duplicates(cases),
        *_shared_parts(cases),
        *wrong_masks(dataset, cases),
        *exchanged_classes(dataset.legend, [(look.case, look.traits) for look in cases]),
        *permuted_colors([(look.case, look.palette) for look in cases if look.palette]),
        *drawn_on([(look.case, look.drawn_share) for look in cases]),
        *unannotated_slices([(look.case, look.lone_slices) for look in cases if look.labels - {0}]),
        *bare_parts([(look.case, look.bare) for look in cases if look.foreground_share]),
        *other_scales(cases),
    ]


def _classes_nobody_shows(dataset: Dataset, cases: Sequence[InspectedCase]) -> list[Finding]:
    shown: set[int] = set().union(*(look.labels for look in cases if look.case.split == "train"))
    foreground = dataset.classes[1:]
    absent = [
        c.name for c in foreground if not shown.intersection(dataset.legend.labels_of(c.index))
    ]
    if len(shown - {IGNORE}) == 1 and 0 not in shown:
        problem = "every training mask shows one class everywhere: there is nothing to tell it from"
        return [Finding("error", str(dataset.folder), problem, "annotate background too")]
    if not absent:
        return []
    if len(absent) == len(foreground):
        problem = f"no training case shows {', '.join(absent)}: there is nothing to learn"
        return [Finding("error", str(dataset.folder), problem, "annotate training cases")]
    return [
        Finding(
            "warning",
            str(dataset.folder),
            f"no training case shows {name}",
            "add a case that does, or take the class away",
        )
        for name in absent
    ]


def _spacing_that_some_lack(cases: Sequence[InspectedCase]) -> list[Finding]:
    read = [look for look in cases if look.content]
    without = [look for look in read if look.spacing is None]
    if not without or len(without) == len(read):
        return []
    return [
        Finding(
            "warning",
            str(look.case.images[0]),
            "the file states no spacing, others do, so no image can be resampled",
            "write the spacing in mm into its header",
        )
        for look in without
    ]


def _place_that_some_lack(dataset: Dataset, cases: Sequence[InspectedCase]) -> list[Finding]:
    """Images that say how their voxels lie are turned alike; others stay as they are stored."""
    read = [look for look in cases if look.content]
    orders = sorted({look.orientation for look in read if look.orientation})
    without = [look for look in read if look.orientation is None]
    if not orders or not without:
        return []
    return [
        Finding(
            "warning",
            str(dataset.folder),
            f"{len(without)} of {len(read)} images, such as {without[0].case.images[0]}, do not "
            f"state how their voxels lie in the world; others do ({', '.join(orders)}). They are "
            "taken as if they were stored like most of the others",
            "write their affine into their headers: left and right may be exchanged",
        )
    ]


def _subjects_on_both_sides(dataset: Dataset) -> list[Finding]:
    sides: dict[str, dict[str, str]] = defaultdict(dict)
    for case in dataset.cases:
        if case.subject is not None:
            sides[case.subject].setdefault(case.split, case.name)
    return [
        Finding(
            "error",
            case_of["test"],
            f"subject {subject} is also in training case {case_of['train']}, so the test would be "
            "of what was trained on",
            "put all cases of a subject on one side",
        )
        for subject, case_of in sides.items()
        if len(case_of) > 1
    ]


def _subjects_in_names(dataset: Dataset) -> list[Finding]:
    """Names that begin alike, where nobody named the subjects and a split or folds may cut them."""
    if any(case.subject is not None for case in dataset.cases):
        return []
    alike = subjects_in([case.name for case in dataset.cases])
    if alike is None:
        return []
    names: dict[str, list[str]] = defaultdict(list)
    splits: dict[str, set[str]] = defaultdict(set)
    for case in dataset.cases:
        names[alike.subject_of[case.name]].append(case.name)
        splits[alike.subject_of[case.name]].add(case.split)
    both = sorted(subject for subject, sides in splits.items() if len(sides) > 1)
    example = max(both or names, key=lambda subject: len(names[subject]))
    cut = (
        f"{len(both)} of them are trained on and held back too"
        if both
        else "folds would cut them, none is cut by the split"
    )
    written = (
        f'subjects: {{pattern: "{alike.pattern}"}}'
        if alike.pattern
        else "subjects: {file: subjects.csv} with a table of case and subject"
    )
    return [
        Finding(
            "warning",
            str(dataset.folder),
            f"names such as {', '.join(names[example][:3])} look like several images of one "
            f"subject (patient): {len(names)} subjects, {cut}",
            f"if they are, write {written} into {CARD}",
        )
    ]


def _duplicates(cases: Sequence[InspectedCase]) -> list[Finding]:
    """The same image twice; across train and test also one that is nearly the same."""
    # flat images, which were told already, are all alike
    cases = [look for look in cases if look.thumbnail is not None and look.thumbnail.any()]
    by_content: dict[str | None, list[Case]] = defaultdict(list)
    for look in sorted(cases, key=lambda look: look.case.split == "test"):
        by_content[look.content].append(look.case)
    findings = [_twice(first, case) for first, *rest in by_content.values() for case in rest]
    findings += _alike_in_training([look for look in cases if look.case.split == "train"])
    train, test = ([look for look in cases if look.case.split == split] for split in SPLITS)
    if train and test:
        for look, place, likeness in zip(
            test, *most_alike(_stacked(test), _stacked(train)), strict=True
        ):
            nearest = train[int(place)]
            if likeness >= NEARLY_THE_SAME and nearest.content != look.content:
                findings.append(_look_alike(nearest.case, look.case, float(likeness)))
        findings += _turned_copies(train, test)
    return findings


def _turned_copies(train: Sequence[InspectedCase], test: Sequence[InspectedCase]) -> list[Finding]:
    """Test images that are those of training, mirrored, turned or inverted."""
    ours, theirs = _stacked(test), _stacked(train)
    _, plain = most_alike(ours, theirs)
    best, places = np.zeros(len(test)), np.zeros(len(test), int)
    for way in [ours, *turned(ours, len(test[0].shape))]:
        where, likeness = most_alike(way, theirs, signed=False)
        better = likeness > best
        best, places = np.where(better, likeness, best), np.where(better, where, places)
    return [
        _look_alike(
            train[place].case, look.case, likeness, "mirrored, turned or inverted, the image "
        )
        for look, place, likeness, as_it_is in zip(
            test, places.tolist(), best.tolist(), plain.tolist(), strict=True
        )
        if likeness >= NEARLY_THE_SAME > as_it_is
    ]


def _alike_in_training(train: Sequence[InspectedCase]) -> list[Finding]:
    """Training cases that look alike and may come into two folds; told once for all of them."""
    if len(train) < 2:
        return []
    thumbnails = _stacked(train)
    as_they_are = alike_pairs(thumbnails, thumbnails)
    ways = [thumbnails, *turned(thumbnails, len(train[0].shape))]
    otherwise = set[tuple[int, int]]().union(
        *(alike_pairs(thumbnails, way, signed=False) for way in ways)
    )
    return [
        *_pairs_in_training(train, as_they_are, "look alike"),
        *_pairs_in_training(
            train, otherwise - as_they_are, "look alike when one is mirrored, turned or inverted"
        ),
    ]


def _pairs_in_training(
    train: Sequence[InspectedCase], pairs: set[tuple[int, int]], how: str
) -> list[Finding]:
    of_two = [
        (one, other)
        for one, other in sorted(pairs)
        if train[one].case.group != train[other].case.group
        and train[one].content != train[other].content
    ]
    if not of_two:
        return []
    first, second = (train[at].case for at in of_two[0])
    return [
        Finding(
            "warning",
            str(second.images[0]),
            f"{_count_pairs(len(of_two))} of training cases {how}, as {first.name} and "
            f"{second.name} do: with folds, one would be held back where the other is trained on",
            f"if they show the same, name the subjects in {CARD}, or remove one of each",
        )
    ]


def _shared_parts(cases: Sequence[InspectedCase]) -> list[Finding]:
    """Crops, shifted copies and tiles that overlap: told once across the split, once for folds."""
    cases = [look for look in cases if look.sketch is not None]
    across: list[tuple[Case, Case, float]] = []
    in_training: list[tuple[Case, Case, float]] = []
    for first, second, share in shared_parts([look.sketch for look in cases if look.sketch]):
        one, other = sorted((cases[first], cases[second]), key=lambda look: look.case.split)
        if one.content == other.content or _look_the_same(one, other):
            continue  # told already
        if one.case.split != other.case.split:
            across.append((other.case, one.case, share))
        elif one.case.split == "train" and one.case.group != other.case.group:
            in_training.append((one.case, other.case, share))
    advice = f"name the subjects in {CARD}, or put images of one source on one side of the split"
    return [
        *_parts(across, "a test case shows what a training case shows, so its score is too good",
                advice),
        *_parts(in_training, "with folds, one would be held back where the other is trained on",
                advice),
    ]  # fmt: skip


def _parts(pairs: Sequence[tuple[Case, Case, float]], risk: str, advice: str) -> list[Finding]:
    if not pairs:
        return []
    first, second, share = max(pairs, key=lambda pair: pair[2])
    whose = f"{first.split} case {first.name} and {second.split} case {second.name}"
    return [
        Finding(
            "warning",
            str(second.images[0]),
            f"{_count_pairs(len(pairs))} of images share a part, crops, tiles or shifted copies of "
            f"one image, as {whose} do ({share:.0%} of the smaller one): {risk}",
            advice,
        )
    ]


def _look_the_same(one: InspectedCase, other: InspectedCase) -> bool:
    if one.thumbnail is None or other.thumbnail is None:
        return False
    if len(one.thumbnail) != len(other.thumbnail):
        return False
    return float(one.thumbnail @ other.thumbnail) >= NEARLY_THE_SAME


def _count_pairs(number: int) -> str:
    return "one pair" if number == 1 else f"{number} pairs"


def _stacked(cases: Sequence[InspectedCase]) -> Float32[np.ndarray, "n d"]:
    return np.stack([look.thumbnail for look in cases if look.thumbnail is not None])


def _twice(first: Case, other: Case) -> Finding:
    where = str(other.images[0])
    problem = f"the image is the same as that of {first.split} case {first.name}"
    if first.split == other.split:
        problem += "; with folds, one may be held back where the other is trained on"
        return Finding("warning", where, problem, "remove one of them")
    return Finding("error", where, problem, "remove it from train or from test")


def _look_alike(train: Case, test: Case, correlation: float, how: str = "") -> Finding:
    return Finding(
        "warning",
        str(test.images[0]),
        f"{how or 'the image '}looks like that of train case {train.name} (correlation "
        f"{correlation:.3f}), so its score may be too good",
        f"if both show the same, put them on one side: subjects or split in {CARD}",
    )
