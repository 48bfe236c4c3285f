"""Volumes of which only some slices seem to be annotated: the others are taken for background."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Integer

from seg.images import Spacing
from training.dataset.cases import Case
from training.dataset.dataset_yaml import CARD
from training.dataset.findings.finding import Finding

FEWEST_SLICES = 5
"""Of a volume in which one alone is odd."""
FLAT = 3.0
"""Times as wide as a slice is thick: things that end in their slice are rarely flatter."""
WIDE = 8
"""Pixels, below which they are specks."""


FEWEST_REGULAR = 4
"""Lone slices, of which a common distance is no chance."""


class LoneSlices(NamedTuple):
    """Slices of a volume that show wide things, if all beside those that show any show nothing."""

    number: int = 0
    is_regular: bool = False
    """Every second, third, ... was annotated."""


def lone_slices(labels: Integer[np.ndarray, "*spatial"], spacing: Spacing | None) -> LoneSlices:
    """Those of a mask.

    Args:
        labels: of a mask; 0 where nothing is.
        spacing: of its voxels, in mm.
    """
    if labels.ndim == 2 or len(labels) < FEWEST_SLICES:
        return LoneSlices()
    areas = np.count_nonzero(labels, axis=(1, 2))
    shown = np.flatnonzero(areas)
    if not len(shown) or (np.diff(shown) == 1).any():
        return LoneSlices()
    thickness, *edges = spacing or (1.0, 1.0, 1.0)
    widths = np.sqrt(areas[shown])
    is_wide = (widths >= WIDE) & (widths * float(np.mean(edges)) >= FLAT * thickness)
    if not is_wide.all():
        return LoneSlices()
    is_regular = len(shown) >= FEWEST_REGULAR and np.gcd.reduce(np.diff(shown)) > 1
    return LoneSlices(len(shown), bool(is_regular))


def unannotated_slices(cases: Sequence[tuple[Case, LoneSlices]]) -> list[Finding]:
    """What is told of cases with foreground."""
    odd = [(case, lone) for case, lone in cases if lone.number]
    if len(odd) < 2 or 2 * len(odd) < len(cases):  # some things are in one slice
        odd = [(case, lone) for case, lone in odd if lone.is_regular]
    if not odd:
        return []
    case, (number, _) = max(odd, key=lambda each: each[1].number)
    slices = "one slice" if number == 1 else f"{number} slices, none beside another,"
    return [
        Finding(
            "warning",
            str(case.mask),
            f"in {len(odd)} of {len(cases)} volumes foreground is in slices alone whose neighbours "
            f"show nothing, here in {slices} though it is wide: slices that nobody annotated are "
            "taken for background",
            "give slices that nobody annotated a value of their own, and write ignore: VALUE into "
            f"{CARD}; or save the others as images",
        )
    ]
