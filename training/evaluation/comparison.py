"""Two evaluations of the same cases side by side: differences, how sure they are, and a picture."""

import math
from collections.abc import Sequence

import numpy as np

from seg.errors import ConfigError
from seg.frozen import FrozenData
from seg.metrics import PairedTest, paired_test
from training.evaluation.measure import SEED
from training.evaluation.object_scores import ObjectDifference, object_differences
from training.evaluation.scores import (
    MEASURES,
    CaseScore,
    Evaluation,
    Interval,
    Measure,
    RegionScore,
)

SIGNIFICANT = 0.05


_DISTANCES = ("surface_dice", "hd95")


class Difference(FrozenData):
    """One measure of one class: B less A."""

    region: str
    measure: str
    mean_a: float
    mean_b: float
    difference: Interval
    p_value: float | None
    """Of Wilcoxon's signed-rank test, two-sided; None where all pairs are equal."""
    smallest_p: float
    """The smallest one that the test can give with so many unequal pairs."""
    better: int
    """Cases in which B is better."""
    worse: int


class Comparison(FrozenData):
    """``comparison.json``."""

    a: str
    b: str
    cases: tuple[str, ...]
    """That both were scored on."""
    left_out: tuple[str, ...]
    """That only one of them was scored on."""
    differences: tuple[Difference, ...]
    objects: tuple[ObjectDifference, ...] = ()
    """Of classes whose objects both told apart."""
    own_a: tuple[str, ...] = ()
    """Cases whose references were drawn over A's masks, which they favour."""
    own_b: tuple[str, ...] = ()
    says: dict[str, str]
    """By class: what the differences of Dice allow to say."""


def compare(a: Evaluation, b: Evaluation, names: tuple[str, str]) -> Comparison:
    """Pair the cases of two evaluations by name.

    Args:
        a: scores of one package.
        b: scores of the other, on the same references.
        names: of both, for people.

    Raises:
        ConfigError: they share no case or no class, or their references differ.
    """
    of_a, of_b = ({case.case: case for case in each.cases} for each in (a, b))
    shared = [name for name in of_a if name in of_b]
    if not shared:
        raise ConfigError("the two evaluations share no case; score both on the same dataset")
    pairs = [(of_a[name], of_b[name]) for name in shared]
    names_of_both = [region for region in a.summary if region in b.summary]
    if not names_of_both:
        raise ConfigError(
            f"the two evaluations share no class, got {', '.join(a.summary)} and "
            f"{', '.join(b.summary)}"
        )
    same_distances = (a.tolerance, a.unit) == (b.tolerance, b.unit)
    measures = [each for each in MEASURES if same_distances or each.name not in _DISTANCES]
    tests = {
        (region, measure.name): _difference(region, measure, pairs)
        for region in names_of_both
        for measure in measures
    }
    return Comparison(
        a=names[0],
        b=names[1],
        cases=tuple(shared),
        left_out=tuple(sorted(set(of_a) ^ set(of_b))),
        differences=tuple(each for each in tests.values() if each),
        objects=tuple(
            object_differences(
                [(x.objects, y.objects) for x, y in pairs], [x.group for x, _ in pairs]
            )
        ),
        own_a=tuple(x.case for x, _ in pairs if x.began_with_it),
        own_b=tuple(y.case for _, y in pairs if y.began_with_it),
        says={name: _in_words(each) for name in names_of_both if (each := tests[name, "dice"])},
    )


def on_fair_cases(a: Evaluation, b: Evaluation) -> tuple[Evaluation, Evaluation]:
    """Both on the cases that were drawn without A's masks; on all where none was.

    A mask that somebody began with A's own agrees with it wherever nobody looked, and B, which
    came later, cannot have been drawn over.
    """
    judges = {case.case for case in a.cases if not case.began_with_it}
    if not judges:
        return a, b
    fair_a, fair_b = (
        each.model_copy(update={"cases": tuple(c for c in each.cases if c.case in judges)})
        for each in (a, b)
    )
    return fair_a, fair_b


def _difference(
    region: str, measure: Measure, pairs: Sequence[tuple[CaseScore, CaseScore]]
) -> Difference | None:
    scores = [_same_reference(region, *pair) for pair in pairs]
    values = np.array([[_value(s, measure) for s in pair] for pair in scores])
    counts = ~np.isnan(values).any(axis=1)
    known = values[counts]
    if not len(known):
        return None
    groups = [a.group for (a, _), is_known in zip(pairs, counts, strict=True) if is_known]
    test = paired_test(known[:, 0], known[:, 1], np.random.default_rng(SEED), groups)
    up, down = test.higher, test.lower
    return Difference(
        region=region,
        measure=measure.name,
        mean_a=float(known[:, 0].mean()),
        mean_b=float(known[:, 1].mean()),
        difference=_interval(test),
        p_value=None if math.isnan(test.p_value) else test.p_value,
        smallest_p=test.smallest_p,
        better=up if measure.higher_is_better else down,
        worse=down if measure.higher_is_better else up,
    )


def _interval(test: PairedTest) -> Interval:
    return Interval.of(test.difference)


def _value(score: RegionScore, measure: Measure) -> float:
    value = getattr(score, measure.name)
    return math.nan if value is None else float(value)


def _same_reference(region: str, a: CaseScore, b: CaseScore) -> tuple[RegionScore, RegionScore]:
    first, second = a.region(region), b.region(region)
    if first is None or second is None:
        raise ConfigError(f"case {a.case} has no score for {region} in one of the evaluations")
    if first.voxels_reference != second.voxels_reference:
        raise ConfigError(
            f"case {a.case}: the references differ, {first.voxels_reference} and "
            f"{second.voxels_reference} voxels of {region}; score both on the same masks"
        )
    return first, second


def _in_words(dice: Difference) -> str:
    """What a difference of Dice allows to say, and what it does not."""
    mean, (low, high) = dice.difference.mean, dice.difference.ci95 or (-math.inf, math.inf)
    cases = "1 case" if dice.difference.cases == 1 else f"{dice.difference.cases} cases"
    if dice.difference.subjects:
        cases += f" of {dice.difference.subjects} subjects"
    if dice.p_value is None:
        return f"no difference in any of {cases}"
    spread = "" if dice.difference.ci95 is None else f" ({low:+.4f} to {high:+.4f})"
    difference = f"B - A is {mean:+.4f}{spread}, p = {dice.p_value:.2g}"
    if dice.smallest_p > SIGNIFICANT:
        return (
            f"{difference}: {cases} are too few to say anything, the test cannot give less than "
            f"p = {dice.smallest_p:.2g} and the interval is too narrow; score more cases"
        )
    if dice.p_value <= SIGNIFICANT and (low > 0 or high < 0):
        return f"{difference}: B is {'better' if mean > 0 else 'worse'} on {cases} like these"
    if dice.p_value <= SIGNIFICANT or low > 0 or high < 0:
        return f"{difference}: interval and test disagree on these {cases}; take it for undecided"
    return (
        f"{difference}: no difference shown; on {cases} that vary so much, one below about "
        f"{(high - low) / 2:.3f} goes unseen"
    )


def _range(ci95: tuple[float, float] | None) -> str:
    return "-" if ci95 is None else f"{ci95[0]:+.4f} to {ci95[1]:+.4f}"


def comparison_table(comparison: Comparison) -> str:
    """The differences for a terminal."""
    width = max(len("class"), *(len(row.region) for row in comparison.differences))
    by_name = {measure.name: measure for measure in MEASURES}
    lines = [f"A  {comparison.a}", f"B  {comparison.b}"]
    lines += [
        f"{'class':{width}}  measure            A        B        B - A    95 % interval       "
        "p       B better  worse  cases"
    ]
    for row in comparison.differences:
        p = "-" if row.p_value is None else f"{row.p_value:.2g}"
        lines.append(
            f"{row.region:{width}}  {by_name[row.measure].label:17}  {row.mean_a:<7.4g}  "
            f"{row.mean_b:<7.4g}  {row.difference.mean:<+7.4f}  "
            f"{_range(row.difference.ci95):18}  {p:6}  {row.better:8}  {row.worse:5}  "
            f"{row.difference.cases:5}"
        )
    lines += [
        f"{row.region:{width}}  {row.label:17}  {row.a:<7.4g}  {row.b:<7.4g}  "
        f"{row.difference:<+7.4f}  {_range(row.ci95):18}  "
        f"objects of {row.cases} cases"
        for row in comparison.objects
    ]
    lines += [f"{region}: {words}" for region, words in comparison.says.items()]
    if len(comparison.says) > 1:
        lines.append(f"{len(comparison.says)} classes are {len(comparison.says)} tests: one p of "
                     f"{SIGNIFICANT} in so many is less than it seems")  # fmt: skip
    lines += [
        f"references of {len(own)} of {len(comparison.cases)} cases show the outlines of {side} "
        "voxel for voxel, as those do that were drawn over its masks, and favour it"
        for side, own in (("A", comparison.own_a), ("B", comparison.own_b))
        if own
    ]
    if comparison.left_out:
        lines.append(f"left out, scored on one side only: {', '.join(comparison.left_out)}")
    return "\n".join(lines)
