"""How a model's objects are found, chosen on cases that the network was not trained on.

For each way of telling objects apart and each class: from which height on a voxel is a seed's, how
small seeds and objects may be, and how what is left in one is split by its shape; what finds most
of the objects wins. Then, with what won: how probable an object is, and how far counts lie from the
truth.

Where there are too few cases to spare any, rules are chosen on those that were learnt from. A
network that knows them by heart finds their objects by almost any rule: of those that find as many,
give or take one object, the one in their middle is taken, not the first. How sure objects and
counts are is not told then.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int32, UInt8
from tqdm import tqdm

from seg.images import ClassInfo, Spacing
from seg.images.grid.orientation import turned_image
from seg.inference import Predictor
from seg.metrics import is_hit, overlaps
from seg.model_package import Encoding, Instances, ModelCard, ObjectRule, SplitRule, Splitting
from seg.objects import Shaping, flooded, heights_of, mean_certainty, split_labels
from seg.objects.evidence import seed_rule, voxels_of_image
from training.dataset import IGNORE, Case, Dataset
from training.evaluation.object_calibration import fit_counts, fit_scores, tile_counts
from training.evaluation.object_scores import ObjectWorth, judged, worth_of
from training.evaluation.split_tuning import (
    ToldApart,
    Unit,
    edges_of,
    fit_split_of_rest,
    unit_of,
)

MOST_CASES = 8
"""All of them are in memory, in some bytes a voxel."""
HEIGHTS = (0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.93)
SEED_SHARES = (0.0, 0.01, 0.03, 0.08, 0.15)
OBJECT_SHARES = (0.0, 0.02, 0.05, 0.1, 0.18, 0.28, 0.4)
"""Of the median size: below that, seeds and objects are none."""
MOST_SLACK = 0.1
"""In worth; of very few objects one is more."""
PREFERRED: tuple[Encoding, ...] = ("distance", "border", "components")
"""Where learnt cases cannot tell: every object has depth, borders only those that touch."""


@dataclass(frozen=True, eq=False)
class TuningCase:
    """What a network says of a case, and what is true."""

    classes: UInt8[np.ndarray, "*spatial"]
    heights: Mapping[Encoding, UInt8[np.ndarray, "*spatial"]]
    sure: UInt8[np.ndarray, "*spatial"]
    reference: Int32[np.ndarray, "*spatial"]
    """Numbers of the true objects."""
    labels: UInt8[np.ndarray, "*spatial"]
    """True classes."""
    spacing: Spacing | None
    subject: str | None = None
    scale: float = 1.0
    """Voxels of the image for each of the network's grid, in which rules are told."""

    def edges(self, unit: Unit) -> tuple[float, ...]:
        """Of a voxel."""
        return edges_of(self.spacing, self.labels.ndim, unit)

    def found(
        self, encoding: Encoding, info: ClassInfo, rule: ObjectRule, way: Shaping | None = None
    ) -> Int32[np.ndarray, "*spatial"]:
        """Label image of one class; what is left in one is split by its shape, if so."""
        seeds = seed_rule(rule, self.scale)
        labels = flooded(self.classes, self.heights[encoding], {info.index: seeds}).labels
        if way is not None:
            labels = split_labels(labels, way)
        return judged(labels, self.truth(info), self.labels != IGNORE)

    def truth(self, info: ClassInfo) -> Int32[np.ndarray, "*spatial"]:
        """Numbers of the true objects of one class."""
        return np.where(self.labels == info.index, self.reference, np.int32(0))


class _Meter:
    """Keeps the heights of every encoding, as ``seg.objects.ObjectsMeter`` those of one."""

    def __init__(self, card: ModelCard, shape: tuple[int, ...]) -> None:
        self._cards = {name: _by(card, name) for name in _encodings(card)}
        self.heights = {name: np.zeros(shape, np.uint8) for name in self._cards}
        self.sure = np.zeros(shape, np.uint8)

    def take(
        self, start: int, logits: Float[np.ndarray, "k *slab"], labels: UInt8[np.ndarray, "*slab"]
    ) -> None:
        """Take the next rows."""
        rows = slice(start, start + len(labels))
        for name, card in self._cards.items():
            self.heights[name][rows], self.sure[rows] = heights_of(logits, labels, card)


def tune_objects(
    predictor: Predictor, dataset: Dataset, cases: Sequence[Case], halo: int, *, are_learnt: bool
) -> Instances:
    """The best way to find objects.

    Args:
        predictor: of a package with channels for objects, whose rules don't matter yet.
        dataset: of the cases.
        cases: with objects; of many, some.
        halo: in voxels of the network's grid.
        are_learnt: the network has learnt from the cases.

    Raises:
        DatasetError: a case cannot be read.
    """
    card = predictor.package.card
    count = min(MOST_CASES, len(cases))
    chosen = [cases[number * len(cases) // count] for number in range(count)]
    read = [
        _tuning_case(predictor, dataset, case)
        for case in tqdm(chosen, desc="telling objects apart", unit="case", disable=None)
    ]
    unit = unit_of(card, [case.spacing for case in read])
    slacks = {info: _an_object(read, info) if are_learnt else None for info in card.classes[1:]}
    best: dict[Encoding, dict[str, _Way]] = {
        name: {
            info.name: _best_way(read, name, info, unit, slack) for info, slack in slacks.items()
        }
        for name in _encodings(card)
    }

    def mean(name: Encoding) -> ObjectWorth:
        found = [way.found for way in best[name].values()]
        return ObjectWorth(
            *np.mean([(each.worth, each.precision) for each in found], axis=0).tolist()
        )

    largest = max((slack for slack in slacks.values() if slack is not None), default=None)
    encoding = _best_encoding({name: mean(name) for name in best}, largest)
    ways = best[encoding]
    # what is known by heart is found without a fault, and says nothing of others
    rules = {
        info.name: ways[info.name].rule
        if are_learnt
        else _calibrated(read, encoding, info, ways[info.name], unit)
        for info in card.classes[1:]
    }
    splits = {name: way.split for name, way in ways.items() if way.split}
    assert card.instances is not None
    said = ", ".join(f"{name} {mean(name).precision:.3f}" for name in best)
    which = "cases that the network has learnt from" if are_learnt else "held-back cases"
    origin = f"{count} {which}"
    return card.instances.model_copy(
        update={
            "encoding": encoding,
            "rules": rules,
            "splitting": Splitting(unit=unit, rules=splits, fitted_on=origin) if splits else None,
            "halo": halo,
            "fitted_on": f"{origin}; average precision at one half: {said}",
        }
    )


def _best_encoding(worth: Mapping[Encoding, ObjectWorth], slack: float | None) -> Encoding:
    """The best; with a slack the one that is preferred of those that are as good, but for that."""
    best = max(worth, key=lambda name: worth[name])
    if slack is None:
        return best
    as_good = [name for name in worth if worth[name].worth >= worth[best].worth - slack]
    return min(as_good, key=PREFERRED.index)


@dataclass(frozen=True)
class _Way:
    """How objects of a class are found."""

    found: ObjectWorth
    rule: ObjectRule
    split: SplitRule | None


def _best_way(
    cases: Sequence[TuningCase],
    encoding: Encoding,
    info: ClassInfo,
    unit: Unit,
    slack: float | None,
) -> _Way:
    found, rule = _best_rule(cases, encoding, info, slack)
    told_apart = [
        ToldApart(case.found(encoding, info, rule), case.truth(info), case.edges(unit))
        for case in cases
    ]
    gain, split = fit_split_of_rest(told_apart, max(1, round(rule.smallest * cases[0].scale)))
    return _Way(found + gain, rule, split)


def _encodings(card: ModelCard) -> tuple[Encoding, ...]:
    assert card.instances is not None
    return (*card.instances.channels_for, "components")


def _by(card: ModelCard, encoding: Encoding) -> ModelCard:
    assert card.instances is not None
    changed = card.instances.model_copy(update={"encoding": encoding})
    return card.model_copy(update={"instances": changed})


def _tuning_case(predictor: Predictor, dataset: Dataset, case: Case) -> TuningCase:
    image, mask = dataset.read(case)
    turn = predictor.turn_of(image)
    labels = np.ascontiguousarray(turn.there(mask.array))
    spacing = turned_image(image, turn).spacing
    meter = _Meter(predictor.package.card, labels.shape)
    return TuningCase(
        classes=predictor.labels_observed(image, meter),
        heights=meter.heights,
        sure=meter.sure,
        reference=np.ascontiguousarray(turn.there(dataset.read_objects(case, image, mask))),
        labels=labels,
        spacing=spacing,
        subject=case.subject,
        scale=voxels_of_image(spacing, predictor.package.card.input.preprocessing.spacing),
    )


def _an_object(cases: Sequence[TuningCase], info: ClassInfo) -> float:
    """What one object of a class more or less is worth, about."""
    count = sum(len(np.unique(case.truth(info))) - 1 for case in cases)
    return min(MOST_SLACK, 1 / max(1, count))


_Tried = tuple[ObjectWorth, ObjectRule]


def _chosen(tried: Sequence[_Tried], slack: float | None) -> _Tried:
    """The best; with a slack the one in the middle of those that are as good, but for that."""
    best = max(tried, key=lambda each: each[0])
    if slack is None:
        return best
    as_good = [each for each in tried if each[0].worth >= best[0].worth - slack]
    return as_good[len(as_good) // 2]


def _best_rule(
    cases: Sequence[TuningCase], encoding: Encoding, info: ClassInfo, slack: float | None
) -> _Tried:
    """The best rule of a class, and what it finds."""
    sizes = np.concatenate(
        [np.unique(c.truth(info), return_counts=True)[1][1:] / c.scale for c in cases]
    )
    usual = float(np.median(sizes)) if len(sizes) else 1.0
    heights = (0.5,) if encoding == "components" else HEIGHTS
    tried = [
        _with_smallest(cases, encoding, info, ObjectRule(seed=height), usual, slack)
        for height in heights
    ]
    found, best = _chosen(tried, slack)
    if encoding == "components":
        return found, best
    seeds = [
        best.model_copy(update={"smallest_seed": max(1, round(share * usual))})
        for share in SEED_SHARES[1:]
    ]
    more = [_with_smallest(cases, encoding, info, rule, usual, slack) for rule in seeds]
    return _chosen([*tried, *more] if slack is None else [(found, best), *more], slack)


def _with_smallest(
    cases: Sequence[TuningCase],
    encoding: Encoding,
    info: ClassInfo,
    rule: ObjectRule,
    usual: float,
    slack: float | None,
) -> _Tried:
    """The rule with the best smallest object, and what it finds."""
    all_sizes = rule.model_copy(update={"smallest": 1})
    pairs = [overlaps(case.found(encoding, info, all_sizes), case.truth(info)) for case in cases]
    results = []
    for share in OBJECT_SHARES:
        smallest = max(1, round(share * usual))
        found = worth_of(
            each.without_small(max(1, round(smallest * case.scale)))
            for each, case in zip(pairs, cases, strict=True)
        )
        results.append((found, rule.model_copy(update={"smallest": smallest})))
    return _chosen(results, slack)


def _calibrated(
    cases: Sequence[TuningCase], encoding: Encoding, info: ClassInfo, way: _Way, unit: Unit
) -> ObjectRule:
    scores, hits, counts = [], [], []
    for case in cases:
        shaping = Shaping(way.split, case.edges(unit)) if way.split else None
        labels = case.found(encoding, info, way.rule, shaping)
        pairs = overlaps(labels, case.truth(info))
        certainty = mean_certainty(labels, case.sure, int(labels.max()))
        scores.append(certainty[pairs.predicted_labels - 1])
        hits.append(is_hit(pairs))
        counts.append(tile_counts(labels, case.truth(info)))
    return way.rule.model_copy(
        update={
            "probability": fit_scores(np.concatenate(scores), np.concatenate(hits)),
            "count": fit_counts(counts, [case.subject for case in cases]),
        }
    )
