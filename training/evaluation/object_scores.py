"""Scores of objects told apart: of a case, and of a class over cases."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int32, Integer, UInt8

from seg.frozen import FrozenData
from seg.metrics import ObjectCounts, Overlaps, count_objects, is_hit, members_of, overlaps
from seg.objects import Objects, components
from training.dataset.legend import IGNORE

RESAMPLES = 2000
SEED = 0


@dataclass(frozen=True)
class ObjectMeasure:
    """One number that the objects of a class get."""

    name: str
    """Of ``ObjectCounts.scores``."""
    label: str
    higher_is_better: bool = True


OBJECT_MEASURES = (
    ObjectMeasure("ap_50", "AP .5"),
    ObjectMeasure("ap_75", "AP .75"),
    ObjectMeasure("ap_90", "AP .9"),
    ObjectMeasure("f1", "F1"),
    ObjectMeasure("pq", "PQ"),
    ObjectMeasure("seg", "SEG"),
    ObjectMeasure("count_error", "count error", higher_is_better=False),
)


class ObjectScore(FrozenData):
    """Objects of one class in one case."""

    reference: int
    predicted: int
    hits: tuple[int, ...]
    """Above each of ``seg.metrics.IOU_THRESHOLDS``."""
    iou: float
    seg: float
    """Sums over objects, as ``seg.metrics.ObjectCounts`` has them."""
    merged: int
    split: int
    components: tuple[int, ...]
    """Predicted, then hits, of connected components of the same mask: the floor."""
    interval: tuple[int, int] | None = None
    """In which the model thought the true number to lie."""

    @property
    def counts(self) -> ObjectCounts:
        """As they add up."""
        return ObjectCounts(
            self.reference, self.predicted, self.hits, self.iou, self.seg, self.merged, self.split
        )

    @property
    def component_counts(self) -> ObjectCounts:
        """Those of components."""
        return ObjectCounts(self.reference, self.components[0], tuple(self.components[1:]))

    @property
    def is_covered(self) -> bool | None:
        """Whether the interval holds the true number; None without one."""
        if self.interval is None:
            return None
        return self.interval[0] <= self.reference <= self.interval[1]


class ObjectEstimate(FrozenData):
    """A score of all cases together, with its bootstrap interval over cases."""

    value: float
    ci95: tuple[float, float] | None
    """None of one case."""


class ObjectSummary(FrozenData):
    """Objects of one class over all cases."""

    cases: int
    reference: int
    predicted: int
    merged: int
    split: int
    measures: dict[str, ObjectEstimate]
    """By name of ``OBJECT_MEASURES``; those that could be taken."""
    floor: dict[str, float]
    """``ap_50`` and its kin of connected components."""
    coverage: float | None = None
    """Share of cases whose interval holds the true number."""


@dataclass(frozen=True, order=True)
class ObjectWorth:
    """What objects of all cases together are worth; more is better."""

    worth: float
    """Half of it average precision at one half, which what labels lack brings down, and half the
    SEG of the Cell Tracking Challenge, which looks at true objects only."""
    precision: float
    """At one half."""

    def __add__(self, other: "ObjectWorth") -> "ObjectWorth":
        """What is gained beside."""
        return ObjectWorth(self.worth + other.worth, self.precision + other.precision)

    def __sub__(self, other: "ObjectWorth") -> "ObjectWorth":
        """What is gained."""
        return ObjectWorth(self.worth - other.worth, self.precision - other.precision)


def worth_of(pairs: Iterable[Overlaps]) -> ObjectWorth:
    """Of cases."""
    scores = sum(map(count_objects, pairs), ObjectCounts()).scores()
    precision, share = np.nan_to_num([scores["ap_50"], scores["seg"]])
    return ObjectWorth(float(precision + share) / 2, float(precision))


def judged(
    labels: Integer[np.ndarray, "*spatial"],
    true: Integer[np.ndarray, "*spatial"],
    annotated: Bool[np.ndarray, "*spatial"],
) -> Integer[np.ndarray, "*spatial"]:
    """Predicted objects of which somebody said what is true, without what lies elsewhere of them.

    One that lies elsewhere for the most part counts where it is a true object's, as far as that was
    annotated; else its rim is no error.
    """
    if annotated.all():
        return labels
    own = np.where(annotated, labels, 0)
    pairs = overlaps(own, true)
    is_true = is_hit(pairs)
    covering = 2 * pairs.shared > pairs.reference_sizes[pairs.reference]
    is_true[pairs.predicted[covering]] = True
    is_kept = np.ones(int(labels.max()) + 1, bool)
    sizes = np.bincount(labels.reshape(-1))[pairs.predicted_labels]
    is_kept[pairs.predicted_labels] = is_true | (2 * pairs.predicted_sizes >= sizes)
    return np.where(is_kept[labels], own, 0)


def score_objects(
    objects: Objects,
    classes: UInt8[np.ndarray, "*spatial"],
    reference: Int32[np.ndarray, "*spatial"],
    labels: UInt8[np.ndarray, "*spatial"],
) -> dict[str, ObjectScore]:
    """By class, what the objects of a case are worth.

    Args:
        objects: that the model told apart.
        classes: its mask.
        reference: numbers of the true objects.
        labels: true classes, as a mask shows them; what nobody annotated counts for nothing.
    """
    annotated = labels != IGNORE
    kinds = np.append(np.uint8(0), objects.classes)[objects.labels]
    found = {}
    for info in objects.kinds:
        true = np.where(labels == info.index, reference, 0)
        own = np.where(kinds == info.index, objects.labels, 0)
        counts = count_objects(overlaps(judged(own, true, annotated), true))
        parts = judged(components(classes == info.index), true, annotated)
        floor = count_objects(overlaps(parts, true))
        found[info.name] = ObjectScore(
            reference=counts.reference,
            predicted=counts.predicted,
            hits=counts.hits,
            iou=counts.iou,
            seg=counts.seg,
            merged=counts.merged,
            split=counts.split,
            components=(floor.predicted, *floor.hits),
            # it is of all objects, those that nobody annotated as well
            interval=objects.counts[info.name].interval if annotated.all() else None,
        )
    return found


def summary_of_objects(
    scores: Sequence[ObjectScore], groups: Sequence[str] | None = None
) -> ObjectSummary:
    """A class over cases, each of which is of one of the groups where they are named."""
    total = sum((score.counts for score in scores), ObjectCounts())
    floor = sum((score.component_counts for score in scores), ObjectCounts()).scores()
    covered = [score.is_covered for score in scores if score.is_covered is not None]
    return ObjectSummary(
        cases=len(scores),
        reference=total.reference,
        predicted=total.predicted,
        merged=total.merged,
        split=total.split,
        measures=_estimates([score.counts for score in scores], groups),
        floor={
            name: value
            for name, value in floor.items()
            if name.startswith(("ap_", "f1", "count")) and math.isfinite(value)
        },
        coverage=sum(covered) / len(covered) if covered else None,
    )


def _estimates(
    counts: Sequence[ObjectCounts], groups: Sequence[str] | None
) -> dict[str, ObjectEstimate]:
    """Scores of all cases together; cases, or their groups, are drawn anew for the intervals."""
    rng = np.random.default_rng(SEED)
    values, units = bootstrapped(counts, rng, groups)
    whole = sum(counts, ObjectCounts()).scores()
    found = {}
    for name, value in whole.items():
        drawn = values(name)
        drawn = drawn[np.isfinite(drawn)]
        if math.isfinite(value) and len(drawn):
            found[name] = ObjectEstimate(value=value, ci95=_middle(drawn, units))
    return found


def _middle(drawn: Float[np.ndarray, " n"], units: int) -> tuple[float, float] | None:
    """Where 95 % of the resamples of so many units lie; one has no other to be drawn."""
    if units < 2:
        return None
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def bootstrapped(
    counts: Sequence[ObjectCounts], rng: np.random.Generator, groups: Sequence[str] | None
) -> tuple[Callable[[str], np.ndarray], int]:
    """A function that gives a score of each resample by its name, and how many units are drawn.

    Units are cases, or the subjects that they are of (``seg.metrics.bootstrap_mean``).
    """
    table = np.array(
        [[c.reference, c.predicted, *c.hits, c.iou, c.seg] for c in counts], np.float64
    )
    if groups is not None:
        members = members_of(groups)
        of_groups = np.zeros((members.max() + 1, table.shape[1]))
        np.add.at(of_groups, members, table)
        table = of_groups
    draws = rng.integers(len(table), size=(RESAMPLES, len(table)))
    sums = table[draws].sum(axis=1)
    scores = [
        ObjectCounts(int(row[0]), int(row[1]), tuple(map(int, row[2:5])), row[5], row[6]).scores()
        for row in sums
    ]
    return lambda name: np.array([each[name] for each in scores]), len(table)


class ObjectDifference(FrozenData):
    """One measure of the objects of one class: B less A, of all cases together."""

    region: str
    label: str
    a: float
    b: float
    difference: float
    ci95: tuple[float, float] | None
    """None of one case."""
    cases: int


def object_differences(
    pairs: Sequence[tuple[Mapping[str, ObjectScore], Mapping[str, ObjectScore]]],
    groups: Sequence[str] | None = None,
) -> Iterator[ObjectDifference]:
    """Of each class that both sides have; the same cases, or groups, are drawn for both."""
    names = dict.fromkeys(name for a, b in pairs for name in a if name in b)
    for name in names:
        places = [at for at, (a, b) in enumerate(pairs) if name in a and name in b]
        of_both = None if groups is None else [groups[at] for at in places]
        both = [(pairs[at][0][name].counts, pairs[at][1][name].counts) for at in places]
        sides = [[pair[at] for pair in both] for at in (0, 1)]
        resampled = [bootstrapped(side, np.random.default_rng(SEED), of_both) for side in sides]
        (first, units), (second, _) = resampled
        whole = [sum(side, ObjectCounts()).scores() for side in sides]
        for measure in OBJECT_MEASURES:
            a, b = (scores[measure.name] for scores in whole)
            differences = second(measure.name) - first(measure.name)
            differences = differences[np.isfinite(differences)]
            if not math.isfinite(b - a) or not len(differences):
                continue
            yield ObjectDifference(
                region=name,
                label=measure.label,
                a=a,
                b=b,
                difference=b - a,
                ci95=_middle(differences, units),
                cases=len(both),
            )


def summaries_of(
    cases: Sequence[Mapping[str, ObjectScore]], groups: Sequence[str]
) -> dict[str, ObjectSummary]:
    """By class, over cases that have scores of objects, each of one of the groups."""
    found = {}
    for name in dict.fromkeys(name for case in cases for name in case):
        scores = [case[name] for case in cases if name in case]
        of_scores = [group for case, group in zip(cases, groups, strict=True) if name in case]
        found[name] = summary_of_objects(scores, of_scores)
    return found


def object_table(summaries: Mapping[str, ObjectSummary]) -> str:
    """The summary for a terminal."""
    if not summaries:
        return ""
    width = max(len("objects"), *(len(name) for name in summaries))
    columns = [max(len(measure.label), len("-0.000")) for measure in OBJECT_MEASURES]
    labels = [measure.label.ljust(n) for measure, n in zip(OBJECT_MEASURES, columns, strict=True)]
    lines = [f"{'objects':{width}}  found  true   {'  '.join(labels)}  merged  split"]
    for name, each in summaries.items():
        values = [each.measures.get(measure.name) for measure in OBJECT_MEASURES]
        numbers = [
            (f"{value.value:.3f}" if value else "-").ljust(n)
            for value, n in zip(values, columns, strict=True)
        ]
        lines.append(
            f"{name:{width}}  {each.predicted:5}  {each.reference:5}  {'  '.join(numbers)}  "
            f"{each.merged:6}  {each.split:5}"
        )
    floors = [
        f"{each.floor['ap_50']:.3f} ({name})"
        for name, each in summaries.items()
        if "ap_50" in each.floor
    ]
    held = [
        f"{100 * each.coverage:.0f} % of {each.cases} cases ({name})"
        for name, each in summaries.items()
        if each.coverage is not None
    ]
    if floors:
        lines.append(f"AP .5 of connected components of the same mask: {', '.join(floors)}")
    if held:
        lines.append(f"95 % intervals of the count that held the true one: {', '.join(held)}")
    return "\n".join(lines)
