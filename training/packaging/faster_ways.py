"""How a package may be run faster, as its held-back cases allow it."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from seg.images import read_channels
from seg.model_package import FasterWays, ModelCard, ModelPackage, OverlapCost, WayCost
from seg.predict.cases import CaseSearch, find_cases
from training.dataset import Case, Dataset
from training.evaluation.regions import Region, foreground_name, regions
from training.packaging.way_costs import MeasuredCase, Read, measure_ways, taken_overlap
from training.run.job import TrainingJob

SHARE = 0.1
"""Of the minutes that the measurement may take."""
SHORTEST_S, LONGEST_S = 20.0, 300.0
"""However few or many the minutes are."""

log = logging.getLogger("training")


def with_faster_ways(card: ModelCard, folder: Path, job: TrainingJob) -> ModelCard:
    """The card with what faster ways cost, and with the smallest overlap that costs nothing.

    Args:
        card: of a package that is being written, with its golden samples and its objects' rules.
        folder: of the package.
        job: an overlap that its plan names is kept.

    Raises:
        DatasetError: a case cannot be read.
    """
    budget_s = min(LONGEST_S, max(SHORTEST_S, SHARE * 60 * job.plan.minutes))
    package = ModelPackage(folder, card)
    with_overlaps = job.plan.overlap is None
    return measured_on(
        package, job.dataset, job.dataset.test, with_overlaps=with_overlaps, budget_s=budget_s
    )


def measured_on(
    package: ModelPackage,
    dataset: Dataset,
    cases: Sequence[Case],
    *,
    with_overlaps: bool,
    budget_s: float | None = None,
) -> ModelCard:
    """The same on any cases that the network has not learnt from.

    Raises:
        DatasetError: a case cannot be read.
    """
    card = package.card
    together = foreground_name(dataset.legend)
    classes = {name: each for name, each in regions(dataset.legend).items() if name != together}
    ways = measure_ways(
        package,
        [MeasuredCase(partial(dataset.read, case), case.group) for case in cases],
        classes,
        with_overlaps=with_overlaps,
        budget_s=budget_s,
    )
    return card if ways is None else with_ways(card, ways)


def measured_on_images(package: ModelPackage, images: Path) -> ModelCard:
    """The card with what other precisions change in the masks of images that nobody annotated.

    Raises:
        DatasetError: there is no image.
    """
    spec = package.card.input
    cases = find_cases([images], CaseSearch(channels=len(spec.channels), dims=spec.dims))

    def reader(files: Sequence[Path]) -> Read:
        return lambda: (read_channels(files, dims=spec.dims), None)

    classes = {c.name: Region((c.index,), (c.index,)) for c in package.card.classes[1:]}
    reads = [MeasuredCase(reader(case.files), case.name) for case in cases]
    ways = measure_ways(package, reads, classes, with_overlaps=False, budget_s=LONGEST_S)
    return package.card if ways is None else with_ways(package.card, ways)


def with_ways(card: ModelCard, ways: FasterWays) -> ModelCard:
    """The card that says so, at the overlap that follows."""
    overlap = taken_overlap(ways, card)
    for line in ways_in_words(card, ways):
        log.info("ways      %s", line)
    spec = card.input.model_copy(update={"overlap": overlap})
    return card.model_copy(update={"faster_ways": ways, "input": spec})


def ways_in_words(card: ModelCard, ways: FasterWays) -> list[str]:
    """Each way with what it costs, for a terminal; those that cut no fewer windows in one line."""
    taken = taken_overlap(ways, card)
    same = [f"{each.overlap:g}" for each in ways.overlaps if not each.cases]
    lines = [
        f"{name:13} {_cost_in_words(each)}, {each.cpu_seconds:.1f} s of CPU"
        + _fate(each, card, taken)
        for name, each in named_ways(ways)
        if each.cases or not isinstance(each, OverlapCost)
    ]
    if same:
        lines.append(f"overlap {', '.join(same)}: as many windows as with {ways.usual_overlap:g}")
    return lines


def _cost_in_words(cost: WayCost) -> str:
    dice = "" if cost.dice is None else f"Dice {cost.dice:.4f}, "
    objects = cost.objects_changed
    if dice and not (cost.dice_lost or cost.labels_changed or any(cost.ci95) or objects):
        return dice.removesuffix(", ")  # the usual way, or as good as it
    return (
        f"{dice}loses {cost.dice_lost:.4f} ({cost.ci95[0]:.4f} to {cost.ci95[1]:.4f}), "
        f"{100 * cost.labels_changed:.3f} % of labels"
        + ("" if objects is None else f", {100 * objects:.1f} % of objects")
    )


def _fate(cost: WayCost, card: ModelCard, taken: float) -> str:
    if not cost.is_small(objects_count=card.instances is not None):
        return ": not taken"
    if isinstance(cost, OverlapCost) and cost.overlap < taken:
        return ": not taken, since a larger overlap loses more than that"
    return ""


def taken_in_a_word(card: ModelCard, cost: WayCost) -> str:
    """Whether a package goes a way, for the column of a table."""
    if isinstance(cost, OverlapCost):
        if cost.overlap == card.input.overlap:
            return "yes"
        return "no" if cost.cases else "as many windows"
    is_small = cost.is_small(objects_count=card.instances is not None)
    return "where it is faster" if is_small else "no"


def named_ways(ways: FasterWays) -> list[tuple[str, WayCost]]:
    """Each way by its name for people."""
    return [
        *((f"overlap {each.overlap:g}", each) for each in ways.overlaps),
        *(
            (each.precision if each.variant is None else f"{each.precision} ({each.variant})", each)
            for each in ways.precisions
        ),
    ]
