"""Looks at every case as a careful colleague would, and says all that is wrong.

One image is in memory at a time in each process; of a case only a few numbers are kept.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from jaxtyping import Float32
from tqdm import tqdm

from seg.errors import ImageError
from seg.images import Image, Mask, Spacing, read_channels
from seg.images.grid.orientation import axis_codes
from training.dataset.cases import Case, Dataset, misfits, turned_onto
from training.dataset.dataset_yaml import CARD
from training.dataset.findings.duplicates import NEARLY_THE_SAME, content_hash, thumbnail
from training.dataset.findings.finding import Finding, raise_errors
from training.dataset.findings.objects import object_findings, shapes_that_join
from training.dataset.in_processes import spread
from training.dataset.legend import IGNORE
from training.dataset.masks import hinted
from training.dataset.splits import subjects_in

_SPLITS = ("train", "test")


@dataclass(frozen=True, eq=False)
class Seen:
    """What is kept of a case."""

    case: Case
    findings: list[Finding] = field(default_factory=list)
    labels: frozenset[int] = frozenset()
    spacing: Spacing | None = None
    orientation: str | None = None
    """Axis codes."""
    content: str | None = None
    thumbnail: Float32[np.ndarray, " d"] | None = None
    joined: tuple[int, int] = (0, 0)
    """Objects that were drawn one by one and touch another of their class, and all of them; where
    nobody asked to tell them apart."""


def check_dataset(dataset: Dataset) -> list[Finding]:
    """Read every case once and give back what looks wrong but can be trained on.

    Raises:
        DatasetError: something cannot be trained on; all of it in one message.
    """
    findings = inspect(dataset)
    raise_errors(findings)
    return findings


def inspect(dataset: Dataset, *, progress: bool = True) -> list[Finding]:
    """All that is wrong, errors first."""
    seen = list(
        tqdm(
            spread(partial(inspect_case, dataset), dataset.cases),
            total=len(dataset.cases),
            desc="checking",
            unit="case",
            disable=None if progress else True,
        )
    )
    findings = [finding for each in seen for finding in each.findings]
    findings += _classes_nobody_shows(dataset, seen)
    findings += _shapes_that_join(dataset, seen)
    findings += _spacing_that_some_lack(seen)
    findings += _place_that_some_lack(dataset, seen)
    findings += _subjects_on_both_sides(dataset)
    findings += _subjects_in_names(dataset)
    findings += _duplicates(seen)
    return sorted(findings, key=lambda finding: finding.severity)


def inspect_case(dataset: Dataset, case: Case) -> Seen:
    """What one case holds, and what is wrong with it."""
    findings: list[Finding] = []
    image = _image(dataset, case, findings)
    mask = _mask(dataset, case, image, findings)
    if image and mask:
        mask = turned_onto(image, mask)
        findings += [Finding("error", str(case.mask), *each) for each in misfits(image, mask)]
    if image and mask and case.objects and not findings:
        findings += _objects(dataset, case, image, mask)
    if image:
        where = str(case.images[0])
        findings += [Finding("error", where, *each) for each in dataset.wrong_channels(image)]
        findings += _intensities(dataset, case, image)
        look = "look whether the right files are left"
        findings += [Finding("warning", where, note, look) for note in image.notes]
    labels = frozenset(int(label) for label in np.unique(mask.array)) if mask else frozenset()
    if mask and not labels - {0, IGNORE}:
        findings.append(_empty(case, labels))
    return Seen(
        case,
        findings,
        labels,
        image.spacing if image else None,
        axis_codes(image) if image else None,
        content_hash(image.array) if image else None,
        thumbnail(image.array) if image else None,
        _joined(case, image, mask) if image and mask and not findings else (0, 0),
    )


def _objects(dataset: Dataset, case: Case, image: Image, mask: Mask) -> list[Finding]:
    where = case.objects or case.mask
    try:
        return object_findings(where, dataset.stored_numbers(case, image), mask.array)
    except ImageError as error:
        return [_unreadable(str(where), error, "correct the file, or remove the case")]


def _joined(case: Case, image: Image, mask: Mask) -> tuple[int, int]:
    """How many of the shapes of a picture lie against another of their class."""
    if case.drawing is None or case.objects is not None or image.dims != 2:
        return 0, 0
    try:
        numbers = case.drawing.numbered(image)
    except ImageError:  # it draws classes
        return 0, 0
    return shapes_that_join(numbers, mask.array.astype(np.uint8))


def _shapes_that_join(dataset: Dataset, seen: Sequence[Seen]) -> list[Finding]:
    joined, count = (sum(each.joined[at] for each in seen) for at in (0, 1))
    if not joined:
        return []
    problem = f"{joined} of {count} shapes touch another of their class: they become one with it"
    advice = f"where each is an object that counts, write masks: instances into {CARD}"
    return [Finding("warning", str(dataset.folder), problem, advice)]


def _image(dataset: Dataset, case: Case, findings: list[Finding]) -> Image | None:
    try:
        return read_channels(case.images, dims=dataset.dims)
    except ImageError as error:
        advice = "save it anew or remove the case"
        findings.append(_unreadable(str(case.images[0]), error, advice))
        return None


def _mask(
    dataset: Dataset, case: Case, image: Image | None, findings: list[Finding]
) -> Mask | None:
    try:
        return dataset.read_mask(case, image)
    except ImageError as error:
        advice = "correct the mask, or declare what it holds"
        error = ImageError(hinted(error, dataset.masks.kind))
        findings.append(_unreadable(str(case.mask), error, advice))
        return None


def _unreadable(where: str, error: ImageError, advice: str) -> Finding:
    return Finding("error", where, str(error).removeprefix(f"{where}: "), advice)


def _intensities(dataset: Dataset, case: Case, image: Image) -> list[Finding]:
    where = str(case.images[0])
    broken = image.array.size - int(np.count_nonzero(np.isfinite(image.array)))
    if broken:
        problem = f"the image holds NaN or infinity in {broken:,} values"
        return [Finding("error", where, problem, "replace them, for example by the lowest value")]
    return [
        Finding(
            "warning",
            str(case.images[index] if len(case.images) > 1 else case.images[0]),
            f"channel {dataset.channels[index].name} is {channel.flat[0]:g} everywhere"
            if index < len(dataset.channels)
            else f"channel {index} is {channel.flat[0]:g} everywhere",
            "look whether this is the right file",
        )
        for index, channel in enumerate(image.array)
        if channel.min() == channel.max()
    ]


def _empty(case: Case, labels: frozenset[int]) -> Finding:
    if 0 not in labels:
        return Finding(
            "warning", str(case.mask), "nobody annotated it", "annotate it or remove the case"
        )
    return Finding(
        "warning",
        str(case.mask),
        "the mask shows background only",
        "keep it if nothing is there, else annotate it",
    )


def _classes_nobody_shows(dataset: Dataset, seen: Sequence[Seen]) -> list[Finding]:
    shown: set[int] = set().union(*(each.labels for each in seen if each.case.split == "train"))
    foreground = dataset.classes[1:]
    absent = [
        c.name for c in foreground if not shown.intersection(dataset.legend.labels_of(c.index))
    ]
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


def _spacing_that_some_lack(seen: Sequence[Seen]) -> list[Finding]:
    read = [each for each in seen if each.content]
    without = [each for each in read if each.spacing is None]
    if not without or len(without) == len(read):
        return []
    return [
        Finding(
            "warning",
            str(each.case.images[0]),
            "the file states no spacing, others do, so no image can be resampled",
            "write the spacing in mm into its header",
        )
        for each in without
    ]


def _place_that_some_lack(dataset: Dataset, seen: Sequence[Seen]) -> list[Finding]:
    """Images that say how their voxels lie are turned alike; others stay as they are stored."""
    read = [each for each in seen if each.content]
    orders = sorted({each.orientation for each in read if each.orientation})
    without = [each for each in read if each.orientation is None]
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
            found["test"],
            f"subject {subject} is also in training case {found['train']}, so the test would be of "
            "what was trained on",
            "put all cases of a subject on one side",
        )
        for subject, found in sides.items()
        if len(found) > 1
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
    both = sorted(subject for subject, found in splits.items() if len(found) > 1)
    example = max(both or names, key=lambda subject: len(names[subject]))
    cut = (
        f"{len(both)} of them are trained on and held out too"
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


def _duplicates(seen: Sequence[Seen]) -> list[Finding]:
    """The same image twice; across train and test also one that is nearly the same."""
    # flat images, which were told already, are all alike
    seen = [each for each in seen if each.thumbnail is not None and each.thumbnail.any()]
    by_content: dict[str | None, list[Case]] = defaultdict(list)
    for each in sorted(seen, key=lambda each: each.case.split == "test"):
        by_content[each.content].append(each.case)
    findings = [_twice(first, case) for first, *rest in by_content.values() for case in rest]
    findings += _alike_in_training([each for each in seen if each.case.split == "train"])
    train, test = ([each for each in seen if each.case.split == split] for split in _SPLITS)
    if train and test:
        likeness = _stacked(test) @ _stacked(train).T
        for row, each in zip(likeness, test, strict=True):
            nearest = train[int(row.argmax())]
            if row.max() >= NEARLY_THE_SAME and nearest.content != each.content:
                findings.append(_look_alike(nearest.case, each.case, float(row.max())))
    return findings


def _alike_in_training(train: Sequence[Seen]) -> list[Finding]:
    """Training cases that look alike and may come into two folds; told once for all of them."""
    if len(train) < 2:
        return []
    thumbnails = _stacked(train)
    pairs: list[tuple[int, int]] = []
    for row, each in enumerate(train[:-1]):
        likeness = thumbnails[row + 1 :] @ thumbnails[row]
        for at in (row + 1 + np.flatnonzero(likeness >= NEARLY_THE_SAME)).tolist():
            other = train[at]
            if other.case.group != each.case.group and other.content != each.content:
                pairs.append((row, at))
    if not pairs:
        return []
    first, second = (train[at].case for at in pairs[0])
    return [
        Finding(
            "warning",
            str(second.images[0]),
            f"{_count_pairs(len(pairs))} of training cases look alike, as {first.name} and "
            f"{second.name} do: with folds, one would be held back where the other is trained on",
            f"if they show the same, name the subjects in {CARD}, or remove one of each",
        )
    ]


def _count_pairs(number: int) -> str:
    return "one pair" if number == 1 else f"{number} pairs"


def _stacked(seen: Sequence[Seen]) -> Float32[np.ndarray, "n d"]:
    return np.stack([each.thumbnail for each in seen if each.thumbnail is not None])


def _twice(first: Case, other: Case) -> Finding:
    where = str(other.images[0])
    problem = f"the image is the same as that of {first.split} case {first.name}"
    if first.split == other.split:
        problem += "; with folds, one may be held back where the other is trained on"
        return Finding("warning", where, problem, "remove one of them")
    return Finding("error", where, problem, "remove it from train or from test")


def _look_alike(train: Case, test: Case, correlation: float) -> Finding:
    return Finding(
        "warning",
        str(test.images[0]),
        f"the image looks like that of train case {train.name} (correlation {correlation:.3f}), so "
        "its score may be too good",
        f"if both show the same, put them on one side: subjects or split in {CARD}",
    )
