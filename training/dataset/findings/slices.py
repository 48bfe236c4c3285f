"""Volumes of which only some slices seem to be annotated: the others are taken for background."""

from collections.abc import Sequence

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


def lone_slices(labels: Integer[np.ndarray, "*spatial"], spacing: Spacing | None) -> int:
    """How many slices show wide things, where all slices beside those that show any show nothing.

    Args:
        labels: of a mask; 0 where nothing is.
        spacing: of its voxels, in mm.
    """
    if labels.ndim == 2 or len(labels) < FEWEST_SLICES:
        return 0
    areas = np.count_nonzero(labels, axis=(1, 2))
    shown = np.flatnonzero(areas)
    if not len(shown) or (np.diff(shown) == 1).any():
        return 0
    thickness, *edges = spacing or (1.0, 1.0, 1.0)
    widths = np.sqrt(areas[shown])
    is_wide = (widths >= WIDE) & (widths * float(np.mean(edges)) >= FLAT * thickness)
    return len(shown) if is_wide.all() else 0


def unannotated_slices(cases: Sequence[tuple[Case, int]]) -> list[Finding]:
    """What is told of cases with foreground, each with its number of lone slices."""
    several = [(case, count) for case, count in cases if count > 1]
    single = [(case, count) for case, count in cases if count == 1]
    if 2 * (len(single) + len(several)) < len(cases):
        single = []  # one thing in one slice is rare, and is
    if not several and len(single) < 2:
        return []
    case, count = (several or single)[0]
    total = len(several) + len(single)
    slices = "one slice" if count == 1 else f"{count} slices, none beside another,"
    return [
        Finding(
            "warning",
            str(case.mask),
            f"in {total} of {len(cases)} volumes foreground is in slices alone whose neighbours "
            f"show nothing, here in {slices} though it is wide: slices that nobody annotated are "
            "taken for background",
            "give slices that nobody annotated a value of their own, and write ignore: VALUE into "
            f"{CARD}; or save the others as images",
        )
    ]
