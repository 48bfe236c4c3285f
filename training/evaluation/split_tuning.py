"""How objects that touch are split by their shape, chosen on training cases.

Where the objects are numbered, what finds most of them wins. Where nobody numbered them, what is
about as large as most is taken to be one object: the rule that splits most, and these hardly ever,
wins. What is too small to be an object is told by the network's own masks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int32, UInt8
from scipy import ndimage

from seg.images import Image
from seg.inference import Predictor
from seg.metrics import ObjectCounts, count_objects, overlaps
from seg.model_package import SplitRule, Splitting
from seg.objects import Shaping, components, parts_of, split_components
from training.dataset import IGNORE, Case, Dataset

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

Labels = Int32[np.ndarray, "*spatial"]


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
        return split_components(self.predicted, Shaping(rule, self.edges))

    def truth(self, rule: SplitRule) -> Labels:
        """True objects; where nobody numbered them, by a rule."""
        if self.numbers is not None:
            return self.numbers
        return split_components(self.true, Shaping(rule, self.edges))


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
    target = card.input.preprocessing.spacing
    in_mm = target is not None and None not in target and all(each.image.spacing for each in parts)
    unit: Literal["mm", "voxel"] = "mm" if in_mm else "voxel"
    by = "their numbered objects" if dataset.has_objects else "objects about as large as most"
    names = {
        info.index: info.name
        for info in card.classes[1:]
        if sum(_objects_in(part, info.index) for part in parts) >= FEWEST_OBJECTS
    }
    rules = {}
    if names:
        found = [predictor.predict(part.image).array for part in parts]
        for index, name in names.items():
            rules[name] = _rule(
                [
                    SplitCase(
                        predicted=(labels == index) & (part.classes != IGNORE),
                        true=part.classes == index,
                        numbers=part.numbers_of(index),
                        edges=_edges(part.image, in_mm),
                    )
                    for part, labels in zip(parts, found, strict=True)
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


def _edges(image: Image, in_mm: bool) -> tuple[float, ...]:
    edges = image.spacing or (1.0,) * image.dims
    return tuple(edges) if in_mm else tuple(edge / min(edges) for edge in edges)


def _rule(cases: Sequence[SplitCase]) -> SplitRule:
    """The best one of a class."""
    shapes = [shape for case in cases for shape in _shapes(case)]
    sizes = [shape.sum() * prod(edges) for shape, edges in shapes]
    size = float(np.median(sizes))
    alike = [
        each
        for each, own in zip(shapes, sizes, strict=True)
        if ALIKE[0] * size <= own <= ALIKE[1] * size
    ]
    depth = float(np.median([ndimage.distance_transform_edt(*each).max() for each in alike]))
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
        rule = max(necks, key=lambda each: _precision(each, cases, truths))
        cores = [rule.model_copy(update={"core": share * depth}) for share in CORES]
        rule = max(cores, key=lambda each: _precision(each, cases, truths))
    # what splits well is settled; what is too small is asked with it
    truths = [case.truth(rule) for case in cases]
    sized = [rule.model_copy(update={"smallest": share * size}) for share in SMALLEST]
    return max(sized, key=lambda each: _precision(each, cases, truths))


Shape = tuple[Bool[np.ndarray, "*box"], tuple[float, ...]]
"""Of a true object with a margin around it, and the edges of its voxels."""


def _shapes(case: SplitCase) -> Iterator[Shape]:
    numbers = components(case.true) if case.numbers is None else case.numbers
    for number, box in enumerate(ndimage.find_objects(numbers), start=1):
        if box is not None:
            yield np.pad(numbers[box] == number, 1), case.edges


def _wrongly_split(rule: SplitRule, alike: Sequence[Shape]) -> float:
    """Share of objects of the usual size that the rule splits."""
    split = [parts_of(shape, Shaping(rule, edges)).max() > 1 for shape, edges in alike]
    return float(np.mean(split))


def _precision(
    rule: SplitRule, cases: Sequence[SplitCase], truths: Sequence[Labels]
) -> tuple[float, float]:
    """Average precision at one half, then at three quarters, of all cases together."""
    pairs = (overlaps(case.found(rule), truth) for case, truth in zip(cases, truths, strict=True))
    scores = sum(map(count_objects, pairs), ObjectCounts()).scores()
    first, second = np.nan_to_num([scores["ap_50"], scores["ap_75"]])
    return float(first), float(second)
