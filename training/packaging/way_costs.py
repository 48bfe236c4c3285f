"""What faster ways of asking a network cost on whole cases: other precisions, less overlap.

Every way segments the same cases as the usual one, float32 at the usual overlap, and is compared
with it: in Dice with the reference, voxel by voxel, and object by object.
"""

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, UInt8, UInt32

from seg.errors import BackendError
from seg.images import Image, Mask
from seg.inference import Predictor
from seg.inference.backends.golden import golden_error
from seg.inference.backends.loading import load_way
from seg.inference.backends.onnx import Backend
from seg.inference.backends.remembered import processor_name
from seg.inference.backends.ways import Way, ways_to_measure
from seg.inference.tiling.sliding_window import WindowCounts
from seg.metrics import bootstrap_mean, count_objects, dice, overlaps
from seg.metrics.matching import ObjectCounts
from seg.model_package import (
    FEWEST_CASES,
    PROBABILITY_TOLERANCE,
    FasterWays,
    ModelCard,
    ModelPackage,
    OverlapCost,
    PrecisionCost,
    WayCost,
)
from seg.verbs import called
from training.evaluation.regions import Region

OVERLAPS = (0.5, 0.33, 0.25, 0.125, 0.0)
MOST_CASES = 8
"""More say little more about a difference that is the same image's."""
WORK = 4.0
"""Times the usual way that all ways together take, about."""
SLACK = 2.0
"""Times the error that golden probabilities showed here, which another processor may show."""
SMALLEST_MEAN_TOLERANCE = 1e-5
MOST_VOXELS_OF_OBJECTS = 2**24
"""Of an image whose objects are compared."""
SEED = 0
"""Of the bootstrap."""

Read = Callable[[], tuple[Image, Mask | None]]
"""Reads a case: its image, and its reference where there is one."""


@dataclass(frozen=True, slots=True)
class MeasuredCase:
    """One that ways are compared on."""

    read: Read
    group: str
    """The subject that it is of, or the case alone."""


log = logging.getLogger("training")


@dataclass(frozen=True, eq=False)
class _Found:
    """What a way made of a case."""

    labels: UInt8[np.ndarray, "*spatial"]
    objects: UInt32[np.ndarray, "*spatial"] | None
    windows: int
    cpu_seconds: float


@dataclass(eq=False)
class _Tally:
    """What a way lost so far."""

    lost: list[dict[str, float]] = field(default_factory=list)
    """Of each case that counts, by class; NaN where neither way nor reference shows it."""
    groups: list[str] = field(default_factory=list)
    """Of those cases."""
    dice: list[float] = field(default_factory=list)
    changed: int = 0
    voxels: int = 0
    objects: ObjectCounts = field(default_factory=ObjectCounts)
    windows: int = 0
    cpu_seconds: float = 0.0
    has_objects: bool = True

    def cost(self, *, has_reference: bool) -> WayCost:
        with np.errstate(invalid="ignore"):
            of_cases = np.array([_mean(each.values()) for each in self.lost])
        estimate = bootstrap_mean(of_cases, np.random.default_rng(SEED), self.groups)
        names = dict.fromkeys(name for each in self.lost for name in each)
        of_classes = {name: _mean(each[name] for each in self.lost) for name in names}
        both = self.objects.reference + self.objects.predicted
        return WayCost(
            cases=estimate.cases,
            against="reference" if has_reference else "float32",
            dice=_rounded(_mean(self.dice)) if has_reference else None,
            dice_lost=_rounded(estimate.mean) or 0.0,
            ci95=(_rounded(estimate.low) or 0.0, _rounded(estimate.high) or 0.0),
            class_lost={
                name: round(lost, 6) for name, lost in of_classes.items() if math.isfinite(lost)
            },
            labels_changed=round(self.changed / max(1, self.voxels), 8),
            objects_changed=round(1 - 2 * self.objects.hits[0] / both, 6)
            if self.has_objects and both
            else None,
            cpu_seconds=round(self.cpu_seconds, 3),
        )


def measure_ways(
    package: ModelPackage,
    cases: Sequence[MeasuredCase],
    regions: Mapping[str, Region],
    *,
    with_overlaps: bool,
    budget_s: float | None = None,
) -> FasterWays | None:
    """What each way costs that this machine can run; None where there are too few cases.

    Args:
        package: with its card; what that says of faster ways is not looked at.
        cases: held back from the training.
        regions: each class, in the labels of a reference and in those of a mask.
        with_overlaps: try smaller overlaps of windows as well; precisions are then measured at the
            one that is taken.
        budget_s: seconds that all of it may take, about; None for all the time it needs.

    Raises:
        DatasetError: a case cannot be read.
        BackendError: the network failed.
    """
    bench = _Bench(package, regions)
    chosen = bench.affordable(cases, budget_s)
    if _units(chosen) < FEWEST_CASES:
        log.info("ways      not measured: %s", bench.why_not(cases, _units(chosen)))
        return None
    usual = package.card.input.overlap
    tried = [usual, *(each for each in OVERLAPS if each < usual and with_overlaps)]
    overlap_costs = bench.overlaps(chosen, tried)
    taken = _smallest(overlap_costs, usual, package.card)
    return FasterWays(
        usual_overlap=usual,
        overlaps=tuple(overlap_costs) if with_overlaps else (),
        precisions=tuple(bench.precisions(chosen, taken)),
        measured=f"{len(chosen)} of {len(cases)} cases",
    )


def taken_overlap(ways: FasterWays, card: ModelCard) -> float:
    """The smallest overlap that loses nothing worth a word, as no larger one does.

    Less overlap can only cost more: where a larger one loses, a smaller one that does not was
    lucky with these few cases.
    """
    return _smallest(ways.overlaps, ways.usual_overlap, card)


def _smallest(costs: Sequence[OverlapCost], usual: float, card: ModelCard) -> float:
    counted = card.instances is not None
    taken = usual
    for cost in sorted(costs, key=lambda each: each.overlap, reverse=True):
        if not cost.cases:  # as many windows as with the usual one: nothing is lost or won
            continue
        if not cost.is_small(objects_count=counted):
            break
        taken = min(taken, cost.overlap)
    return taken


class _Bench:
    """Runs the ways of one package, and remembers what the usual one found."""

    def __init__(self, package: ModelPackage, regions: Mapping[str, Region]) -> None:
        self._package, self._regions = package, regions
        self._others = ways_to_measure(package.card)
        providers = [way.provider for way in self._others]
        own = package.card.variant(package.card.members()[0]).precision
        self._way = Way(providers[0] if providers else "cpu", own)
        self._backend = self._usual_backend()
        self._usual: dict[int, _Found] = {}
        self._at: dict[float, _Tally] = {}
        self._seconds = 0.0
        self._has_reference = True

    def _usual_backend(self) -> Backend:
        try:
            return load_way(self._package, self._way)
        except BackendError:
            self._way, self._others = Way("cpu", self._way.precision), []
            return load_way(self._package, self._way)

    def affordable(
        self, cases: Sequence[MeasuredCase], budget_s: float | None
    ) -> list[MeasuredCase]:
        """Cases that are measured, spread evenly; the first one's time says how many."""
        if _units(cases) < FEWEST_CASES:
            return []
        most = len(cases)
        if budget_s is not None:
            start = time.perf_counter()  # warms up as well, so what it finds is not measured
            image, _ = cases[0].read()
            self._segment(self._backend, image, self._package.card.input.overlap)
            self._seconds = time.perf_counter() - start
            most = min(MOST_CASES, int(budget_s / (WORK * self._seconds)))
        number = min(most, len(cases))
        return [cases[i * len(cases) // number] for i in range(number)]

    def why_not(self, cases: Sequence[MeasuredCase], affordable: int) -> str:
        """In words."""
        there = _units(cases)
        if there < FEWEST_CASES:
            of = f" of {there} subjects" if there < len(cases) else ""
            return f"{len(cases)} held-back cases{of} say too little, {FEWEST_CASES} are needed"
        return (
            f"a case takes {self._seconds:.0f} s, and there is time for {affordable}; "
            f"{called('training.calibrate')} takes the time"
        )

    def overlaps(self, cases: Sequence[MeasuredCase], tried: Sequence[float]) -> list[OverlapCost]:
        """Of each overlap, the usual one first."""
        self._at = {overlap: _Tally() for overlap in tried}
        for number, case in enumerate(cases):
            image, reference = case.read()
            self._has_reference &= reference is not None
            usual = self._segment(self._backend, image, tried[0])
            self._usual[number] = usual
            self._add(self._at[tried[0]], usual, usual, (case.group, reference))
            for overlap, found in self._at_each(image, usual, tried[1:]):
                # an image of as many windows shows nothing of what less overlap costs
                counts = found.windows < usual.windows
                self._add(self._at[overlap], found, usual, (case.group, reference), counts=counts)
        return [
            OverlapCost(
                **tally.cost(has_reference=self._has_reference).model_dump(),
                overlap=overlap,
                windows=tally.windows,
            )
            for overlap, tally in self._at.items()
        ]

    def _at_each(
        self, image: Image, usual: _Found, overlaps: Sequence[float]
    ) -> Iterable[tuple[float, _Found]]:
        """At each overlap; where the last one cuts no other windows, none does."""
        if not overlaps:
            return
        *others, last = overlaps
        least = self._segment(self._backend, image, last)
        for overlap in others:
            is_same = least.windows == usual.windows
            yield overlap, usual if is_same else self._segment(self._backend, image, overlap)
        yield last, least

    def precisions(self, cases: Sequence[MeasuredCase], overlap: float) -> Iterable[PrecisionCost]:
        """Of each precision at that overlap, float32 first."""
        yield self._precision_cost(self._way, self._backend, self._at[overlap])
        for way in self._others:
            try:
                backend = load_way(self._package, way)
                tally = _Tally()
                for number, case in enumerate(cases):
                    image, reference = case.read()
                    found = self._segment(backend, image, overlap)
                    self._add(tally, found, self._usual[number], (case.group, reference))
            except BackendError as error:
                log.warning("ways      %s was not measured: %s", way, error)
                continue
            yield self._precision_cost(way, backend, tally)

    def _precision_cost(self, way: Way, backend: Backend, tally: _Tally) -> PrecisionCost:
        card = self._package.card
        worst, mean = golden_error(self._package, backend)
        allowed = card.tolerance(way.variant)
        return PrecisionCost(
            **tally.cost(has_reference=self._has_reference).model_dump(),
            precision=way.precision,
            provider=way.provider,
            variant=way.variant,
            instead_of=card.members(),
            tolerance=max(allowed.worst, min(1.0, SLACK * worst), PROBABILITY_TOLERANCE),
            mean_tolerance=min(1.0, max(SMALLEST_MEAN_TOLERANCE, SLACK * mean)),
            measured_on=processor_name(),
        )

    def _segment(self, backend: Backend, image: Image, overlap: float) -> _Found:
        card = self._package.card
        predictor = Predictor(self._package, backend, overlap=overlap)
        compared = card.instances is not None or card.input.dims == 2
        compared &= math.prod(image.spatial_shape) <= MOST_VOXELS_OF_OBJECTS
        counts = WindowCounts()
        start = time.process_time()
        if compared:
            mask, objects = predictor.predict_with_objects(image, counts=counts)
        else:
            mask, objects = predictor.predict(image, counts=counts), None
        seconds = time.process_time() - start
        numbers = objects.labels if objects is not None else None
        return _Found(mask.array, numbers, counts.total, seconds)

    def _add(
        self,
        tally: _Tally,
        found: _Found,
        usual: _Found,
        of: tuple[str, Mask | None],
        *,
        counts: bool = True,
    ) -> None:
        group, reference = of
        tally.windows += found.windows
        tally.cpu_seconds += found.cpu_seconds
        tally.changed += int(np.count_nonzero(found.labels != usual.labels))
        tally.voxels += found.labels.size
        if found.objects is None or usual.objects is None:
            tally.has_objects = False
        else:
            tally.objects += count_objects(overlaps(found.objects, usual.objects))
        said = usual.labels if reference is None else reference.array
        lost, own = {}, []
        for name, region in self._regions.items():
            true = region.referred(said)
            ours, theirs = (region.predicted(each.labels, said) for each in (found, usual))
            now, before = _dice(ours, true), _dice(theirs, true)
            own.append(now)
            both = math.isnan(now) and math.isnan(before)
            lost[name] = math.nan if both else _or_perfect(before) - _or_perfect(now)
        tally.dice.append(_mean(own))
        if counts:
            tally.lost.append(lost)
            tally.groups.append(group)


def _units(cases: Sequence[MeasuredCase]) -> int:
    """Subjects, or cases where each is of its own."""
    return len({case.group for case in cases})


def _dice(ours: Bool[np.ndarray, "*spatial"], true: Bool[np.ndarray, "*spatial"]) -> float:
    return dice(ours, true)


def _or_perfect(score: float) -> float:
    """What is nowhere and is found nowhere was found rightly."""
    return 1.0 if math.isnan(score) else score


def _mean(values: Iterable[float]) -> float:
    known = [each for each in values if not math.isnan(each)]
    return sum(known) / len(known) if known else math.nan


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)
