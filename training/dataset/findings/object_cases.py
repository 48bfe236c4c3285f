"""What only shows of objects when all cases are held beside each other."""

from collections.abc import Sequence

import numpy as np

from training.dataset.cases import Dataset
from training.dataset.dataset_yaml import CARD
from training.dataset.findings.finding import Finding
from training.dataset.findings.one_case import InspectedCase

FEWEST_OBJECTS = 3
SHARE_IN_PIECES = 0.8
"""Of the objects; from there on their numbers are none."""
OTHER_SIZE = {2: 6, 3: 15}
"""By dimensions: areas and volumes that differ by so much are of other things, or of another
magnification: two and a half times the diameter."""


def objects_over(dataset: Dataset, cases: Sequence[InspectedCase]) -> list[Finding]:
    """All that is wrong with objects that may be sound case by case."""
    return [
        *_shapes_that_join(dataset, cases),
        *_numbers_of_classes(dataset, cases),
        *_other_sizes(dataset, cases),
    ]


def _shapes_that_join(dataset: Dataset, cases: Sequence[InspectedCase]) -> list[Finding]:
    joined, count = (sum(look.joined[at] for look in cases) for at in (0, 1))
    if not joined:
        return []
    problem = f"{joined} of {count} shapes touch another of their class: they become one with it"
    advice = f"where each is an object that counts, write masks: instances into {CARD}"
    return [Finding("warning", str(dataset.folder), problem, advice)]


def _numbers_of_classes(dataset: Dataset, cases: Sequence[InspectedCase]) -> list[Finding]:
    """Masks of classes, black and white ones say, that were taken for numbered objects."""
    pieces, count = (sum(look.in_pieces[at] for look in cases) for at in (0, 1))
    if count < FEWEST_OBJECTS or pieces < SHARE_IN_PIECES * count:
        return []
    problem = f"{pieces} of {count} objects lie in several pieces: the masks seem to show classes"
    advice = f"number each object by itself, or take masks: instances out of {CARD}"
    return [Finding("error", str(dataset.folder), problem, advice)]


def _other_sizes(dataset: Dataset, cases: Sequence[InspectedCase]) -> list[Finding]:
    """Test cases of another magnification, on which scores say little."""
    trained, tested = (
        [each.object_size for each in cases if each.object_size and each.case.split == split]
        for split in ("train", "test")
    )
    if not trained or not tested:
        return []
    usual, other = float(np.median(trained)), float(np.median(tested))
    times = max(usual / other, other / usual)
    if times < OTHER_SIZE[dataset.dims]:
        return []
    which = "large" if other > usual else "small"
    problem = (
        f"objects of the test cases are {times:.0f} times as {which} as those to train on (median)"
    )
    advice = (
        "look whether all images have one magnification, and write the spacing into their headers "
        f"where they differ; or choose the test cases by split in {CARD}"
    )
    return [Finding("warning", str(dataset.folder), problem, advice)]
