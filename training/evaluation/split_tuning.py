"""How objects that touch are split by their shape, chosen on training cases.

Where the objects are numbered, what finds most of them wins. Where nobody numbered them, what is
about as large as most is taken to be one object: the rule that splits most, and these hardly ever,
wins. What is too small to be an object is told by the network's own masks.

What a model that tells objects apart leaves in one is split where that finds more of the objects of
held-back cases: by the strongest of the rules that find most, give or take an object, and that
hardly ever cut a true one.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int32, UInt8
from scipy import ndimage

from seg.images import Image, Spacing
from seg.inference import Predictor
from seg.metrics import overlaps
from seg.model_package import ModelCard, SplitRule, Splitting
from seg.objects import Shaping, components, parts_of, split_labels
from training.dataset import IGNORE, Case, Dataset
from training.evaluation.object_scores import ObjectWorth, worth_of

MOST_CASES = 4
MOST_VOXELS = 2**21
"""Of each case; of a larger one its middle is looked at."""
FEWEST_OBJECTS = 20
"""In all of these cases; organs, of which a body has one, are not split."""
NECKS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
CORES = (0.3, 0.0, 0.5)
"""Shares of the usual depth."""
SMALLEST = (0.0, 0.02, 0.05, 0.1, 0.18, 0.28)
"""Shares of the usual size."""
ALIKE = (0.25, 1.5)
"""Of the usual size: what is taken to be one object."""
WRONGLY_SPLIT = 0.02
"""Share of these that may be."""
MOST_OBJECTS = 3000
"""That are looked at to split what an encoding has left."""

Labels = Int32[np.ndarray, "*spatial"]
Unit = Literal["mm", "voxel"]


@dataclass(frozen=True, eq=False)
class SplitCase:
    """One class in a part of a training case."""

    predicted: Bool[np.ndarray, "*spatial"]
    true: Bool[np.ndarray, "*spatial"]
    numbers: Labels | None
    """Of the true objects, where somebody numbered them."""
    edges: tuple[float, ...]

    def found(self, rule: SplitRule) -> Labels:
        """Objects of the prediction."""
        return split_labels(components(self.predicted), Shaping(rule, self.edges))

    def truth(self, rule: SplitRule) -> Labels:
        """True objects; where nobody numbered them, by a rule."""
        if self.numbers is not None:
            return self.numbers
        return split_labels(components(self.true), Shaping(rule, self.edges))

    def shapes(self) -> Iterator["Shape"]:
        """Each true object by itself; where nobody numbered them, what hangs together."""
        return shapes_of(
            components(self.true) if self.numbers is None else self.numbers, self.edges
        )


def fit_splitting(predictor: Predictor, dataset: Dataset, cases: Sequence[Case]) -> Splitting:
    """Values for all classes that have objects.

    Args:
        predictor: of the package.
        dataset: of the cases.
        cases: that the network was trained on; of many, some.

    Raises:
        DatasetError: a case cannot be read.
    """
    card = predictor.package.card
    count = min(MOST_CASES, len(cases))
    chosen = [cases[number * len(cases) // count] for number in range(count)]
    parts = [_middle(dataset, case) for case in chosen]
    unit = unit_of(card, [part.image.spacing for part in parts])
    by = "their numbered objects" if dataset.has_objects else "objects about as large as most"
    names = {
        info.index: info.name
        for info in card.classes[1:]
        if sum(_objects_in(part, info.index) for part in parts) >= FEWEST_OBJECTS
    }
    rules = {}
    if names:
        predicted = [predictor.predict(part.image).array for part in parts]
        for index, name in names.items():
            rules[name] = _rule(
                [
                    SplitCase(
                        predicted=(labels == index) & (part.classes != IGNORE),
                        true=part.classes == index,
                        numbers=part.numbers_of(index),
                        edges=edges_of(part.image.spacing, part.image.dims, unit),
                    )
                    for part, labels in zip(parts, predicted, strict=True)
                ]
            )
    return Splitting(unit=unit, rules=rules, fitted_on=f"{count} training cases, {by}")


@dataclass(frozen=True, eq=False)
class _Part:
    """The middle of a case."""

    image: Image
    classes: UInt8[np.ndarray, "*spatial"]
    numbers: Labels | None

    def numbers_of(self, index: int) -> Labels | None:
        if self.numbers is None:
            return None
        return np.where(self.classes == index, self.numbers, np.int32(0))


def _middle(dataset: Dataset, case: Case) -> _Part:
    image, mask = dataset.read(case)
    numbers = dataset.read_objects(case, image, mask) if dataset.has_objects else None
    shape = image.spatial_shape
    share = min(1.0, (MOST_VOXELS / prod(shape)) ** (1 / len(shape)))
    sizes = [max(1, int(share * size)) for size in shape]
    box = tuple(
        slice((size - part) // 2, (size - part) // 2 + part)
        for size, part in zip(shape, sizes, strict=True)
    )
    return _Part(
        replace(image, array=image.array[:, *box]),
        dataset.legend.painted(mask.array[box]),
        None if numbers is None else numbers[box],
    )


def _objects_in(part: _Part, index: int) -> int:
    numbers = part.numbers_of(index)
    if numbers is not None:
        return len(np.unique(numbers[numbers > 0]))
    return int(components(part.classes == index).max())


def unit_of(card: ModelCard, spacings: Iterable[Spacing | None]) -> Unit:
    """In which shapes can be measured, in images of these spacings."""
    target = card.input.preprocessing.spacing
    return "mm" if target is not None and None not in target and all(spacings) else "voxel"


def edges_of(spacing: Spacing | None, dims: int, unit: Unit) -> tuple[float, ...]:
    """Of an image's voxels."""
    edges = spacing or (1.0,) * dims
    return tuple(edges) if unit == "mm" else tuple(edge / min(edges) for edge in edges)


def _rule(cases: Sequence[SplitCase]) -> SplitRule:
    """The best one of a class."""
    usual = _usual([shape for case in cases for shape in case.shapes()])
    size, depth, alike = usual.size, usual.depth, usual.shapes
    rule = SplitRule(core=CORES[0] * depth)
    necks = [rule.model_copy(update={"neck": neck}) for neck in NECKS]
    if cases[0].numbers is None:
        rule = max(
            (each for each in necks if _wrongly_split(each, alike) <= WRONGLY_SPLIT),
            key=lambda each: each.neck,
            default=necks[0],
        )
    else:
        truths = [case.truth(rule) for case in cases]
        rule = max(necks, key=lambda each: _worth(each, cases, truths))
        cores = [rule.model_copy(update={"core": share * depth}) for share in CORES]
        rule = max(cores, key=lambda each: _worth(each, cases, truths))
    # what splits well is settled; what is too small is asked with it
    truths = [case.truth(rule) for case in cases]
    sized = [rule.model_copy(update={"smallest": share * size}) for share in SMALLEST]
    return max(sized, key=lambda each: _worth(each, cases, truths))


Shape = tuple[Bool[np.ndarray, "*box"], tuple[float, ...]]
"""Of a true object with a margin around it, and the edges of its voxels."""


@dataclass(frozen=True, eq=False)
class _Usual:
    """What most objects of a class are like."""

    size: float
    depth: float
    shapes: Sequence[Shape]


def _usual(shapes: Sequence[Shape]) -> _Usual:
    sizes = [shape.sum() * prod(edges) for shape, edges in shapes]
    size = float(np.median(sizes))
    alike = [
        shape
        for shape, own in zip(shapes, sizes, strict=True)
        if ALIKE[0] * size <= own <= ALIKE[1] * size
    ]
    depth = float(np.median([ndimage.distance_transform_edt(*shape).max() for shape in alike]))
    return _Usual(size, depth, alike)


def shapes_of(numbers: Labels, edges: tuple[float, ...]) -> Iterator[Shape]:
    """Each object by itself."""
    for number, box in enumerate(ndimage.find_objects(numbers), start=1):
        if box is not None:
            yield np.pad(numbers[box] == number, 1), edges


@dataclass(frozen=True, eq=False)
class ToldApart:
    """Objects of one class in a case as an encoding finds them, and the true ones."""

    labels: Labels
    """From 1 on."""
    truth: Labels
    edges: tuple[float, ...]

    def split(
        self, rule: SplitRule, some: Bool[np.ndarray, " n+1"]
    ) -> tuple[Labels, Bool[np.ndarray, " n+1"]]:
        """Split some objects, by number; say which of them are several then."""
        inside = some[self.labels] & (self.labels > 0)
        parts = split_labels(np.where(inside, self.labels, 0), Shaping(rule, self.edges))
        pairs = np.unique(np.stack([self.labels[inside], parts[inside]]), axis=1)
        is_cut = np.bincount(pairs[0], minlength=len(some)) > 1
        # a hole that was filled may hold another object
        free = inside | (self.labels == 0)
        kept = np.where(inside, 0, self.labels)
        return np.where(free & (parts > 0), parts + len(some), kept), is_cut


def fit_split_of_rest(
    cases: Sequence[ToldApart], smallest: int
) -> tuple[ObjectWorth, SplitRule | None]:
    """How what an encoding has left in one is split; None where that finds no more objects.

    Args:
        cases: held back; their edges are in one unit.
        smallest: voxels of the smallest object that the encoding leaves.

    Returns:
        What is gained, and the rule.
    """
    seen = _some(cases)
    shapes = [shape for case in seen for shape in shapes_of(case.truth, case.edges)]
    if len(shapes) < FEWEST_OBJECTS:
        return ObjectWorth(0, 0), None
    usual = _usual(shapes)
    rule = SplitRule(core=CORES[0] * usual.depth, smallest=smallest * prod(seen[0].edges))
    whole = worth_of(overlaps(case.labels, case.truth) for case in seen)
    tried: list[tuple[ObjectWorth, SplitRule]] = []
    looked_at = [np.ones(int(case.labels.max()) + 1, bool) for case in seen]
    for rule in _harmless([rule.model_copy(update={"neck": neck}) for neck in NECKS], usual.shapes):
        # what a stronger rule has left whole stays whole
        split = [case.split(rule, some) for case, some in zip(seen, looked_at, strict=True)]
        looked_at = [is_cut for _, is_cut in split]
        found = worth_of(
            overlaps(labels, case.truth) for case, (labels, _) in zip(seen, split, strict=True)
        )
        tried.append((found, rule))
    best = max((found for found, _ in tried), default=whole)
    if best <= whole:
        return ObjectWorth(0, 0), None
    # one object more or less is chance; what the shapes of all true ones bear is not
    found, rule = next(each for each in tried if each[0].worth >= best.worth - 1 / len(shapes))
    return found - whole, rule


def _some(cases: Sequence[ToldApart]) -> list[ToldApart]:
    """The first ones, with about as many objects as are looked at."""
    before = np.cumsum([0] + [int(case.labels.max()) for case in cases])
    return [case for case, count in zip(cases, before, strict=False) if count < MOST_OBJECTS]


def _harmless(rules: Sequence[SplitRule], shapes: Sequence[Shape]) -> list[SplitRule]:
    """Those that hardly ever cut a true object, the strongest first."""
    strongest_first = sorted(rules, key=lambda rule: -rule.neck)
    cut = list(shapes)
    for at, rule in enumerate(strongest_first):
        cut = [
            (shape, edges)
            for shape, edges in cut
            if parts_of(shape, Shaping(rule, edges)).max() > 1
        ]
        if len(cut) <= WRONGLY_SPLIT * len(shapes):
            return strongest_first[at:]
    return []


def _wrongly_split(rule: SplitRule, alike: Sequence[Shape]) -> float:
    """Share of objects of the usual size that the rule splits."""
    split = [parts_of(shape, Shaping(rule, edges)).max() > 1 for shape, edges in alike]
    return float(np.mean(split))


def _worth(rule: SplitRule, cases: Sequence[SplitCase], truths: Sequence[Labels]) -> ObjectWorth:
    return worth_of(
        overlaps(case.found(rule), truth) for case, truth in zip(cases, truths, strict=True)
    )
