"""What seems not to be annotated, and is learnt as background: slices of volumes, parts of images.

Where foreground stands out by its intensity, what stands out as much elsewhere would be foreground
too; a part of the image in which it is, and nothing is annotated, was left out.

Measured of such parts: of 92 images of ``hela``, ``cho``, ``scratch-assay`` and both phantoms none
is told as it is; of ``hela`` and ``cho`` 40 of 40 are where half of their masks is taken out. Of
classes that do not stand out so (``scratch-assay``) nothing is told. Letters: ``c`` channels.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Integer, Real

from seg.images import Image, Mask, Spacing
from training.dataset.cases import Case
from training.dataset.dataset_yaml import CARD
from training.dataset.findings.finding import Finding
from training.dataset.legend import IGNORE

FEWEST_SLICES = 5
"""Of a volume in which one alone is odd."""
FLAT = 3.0
"""Times as wide as a slice is thick: things that end in their slice are rarely flatter."""
WIDE = 8
"""Pixels, below which they are specks."""

FEWEST_REGULAR = 4
"""Lone slices, of which a common distance is no chance."""

MOST = {2: 256, 3: 64}
"""Places along an axis that are looked at, by number of dimensions: means of what lies there."""
BARE = 3 / 8
"""Of an axis, from one end on: so much without foreground is looked at."""
STANDS_OUT = 0.7
"""True less false positive rate of the best threshold, in the annotated part (Youden, 1950)."""
SHARES = (0.02, 0.9)
"""Of foreground in the annotated part."""
AS_MUCH = 0.5
"""Of what stands out in the annotated part and is foreground."""
FEWEST_CASES = 3
QUANTILES = 128
"""Intensities that are tried as thresholds."""

Box = tuple[slice, ...]


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


class _Rule(NamedTuple):
    """What tells foreground by its intensity."""

    low: float
    high: float
    right: float
    """Share of voxels between them that are foreground, of all."""
    wrong: float
    """Of those that are not."""


def bare_part(image: Image, mask: Mask) -> str | None:
    """Where nothing is annotated and as much stands out as where something is, in words."""
    if (mask.array == IGNORE).any():  # what nobody annotated has a number of its own
        return None
    foreground = _means(mask.array > 0) > 0.5
    if not foreground.any():
        return None
    channels = [_means(channel) for channel in image.array]
    for rest, bare, words in _cuts(foreground):
        rules = [(each, _rule_of(each[rest], foreground[rest])) for each in channels]
        told = [_stands_out(each[bare], rule) for each, rule in rules if rule]
        if told and all(told):
            return words
    return None


def _stands_out(values: Float32[np.ndarray, "*part"], rule: _Rule) -> bool:
    """More of a bare part is as foreground is than of what is annotated as background."""
    share = float(((values >= rule.low) & (values < rule.high)).mean())
    return share - rule.wrong >= AS_MUCH * rule.right


def bare_parts(cases: Sequence[tuple[Case, str | None]]) -> list[Finding]:
    """What is told of cases with foreground; where most are so, things lie on one side alone."""
    odd = [(case, words) for case, words in cases if words]
    if len(cases) < FEWEST_CASES or 2 * len(odd) >= len(cases):
        return []
    return [
        Finding(
            "warning",
            str(case.mask),
            f"nothing is annotated at {words}, and what is annotated elsewhere in this image is to "
            "be seen there too: what nobody annotated is learnt as background",
            f"annotate it, or give it a value of its own and write ignore: VALUE into {CARD}",
        )
        for case, words in odd
    ]


def _cuts(foreground: Bool[np.ndarray, "*spatial"]) -> Iterator[tuple[Box, Box, str]]:
    """The annotated part, a bare one beside it, and where that is."""
    for axis, size in enumerate(foreground.shape):
        others = tuple(each for each in range(foreground.ndim) if each != axis)
        shown = np.flatnonzero(foreground.any(axis=others))
        first, end = int(shown[0]), int(shown[-1]) + 1
        before = (slice(None),) * axis
        name = "zyx"[axis - foreground.ndim]
        if first >= BARE * size:
            yield (
                (*before, slice(first, None)),
                (*before, slice(first)),
                f"the first {first / size:.0%} along {name}",
            )
        if size - end >= BARE * size:
            yield (
                (*before, slice(end)),
                (*before, slice(end, None)),
                f"the last {1 - end / size:.0%} along {name}",
            )


def _rule_of(
    values: Float32[np.ndarray, "*part"], inside: Bool[np.ndarray, "*part"]
) -> _Rule | None:
    """None where no threshold tells foreground."""
    share = float(inside.mean())
    edges = np.unique(np.quantile(values, np.linspace(0, 1, QUANTILES)))
    if not SHARES[0] <= share <= SHARES[1] or len(edges) < 3:
        return None
    found, rest = (
        np.cumsum(np.histogram(values[where], edges)[0]) / np.count_nonzero(where)
        for where in (inside, ~inside)
    )
    at = int(np.abs(found - rest).argmax())
    if abs(found[at] - rest[at]) < STANDS_OUT:
        return None
    edge = float(edges[at + 1])
    if found[at] > rest[at]:  # foreground is dark
        return _Rule(-np.inf, edge, float(found[at]) * share, float(rest[at]) * (1 - share))
    return _Rule(edge, np.inf, float(1 - found[at]) * share, float(1 - rest[at]) * (1 - share))


def _means(array: Real[np.ndarray, "*spatial"]) -> Float32[np.ndarray, "*thinned"]:
    """Means of blocks; what is left at the ends of axes is passed over."""
    means: np.ndarray = array
    for axis, size in enumerate(array.shape):
        step = -(-size // MOST[array.ndim])
        kept = size // step
        rows = np.moveaxis(means, axis, 0)[: kept * step]
        blocks = rows.reshape(kept, step, *rows.shape[1:])
        means = np.moveaxis(blocks.mean(axis=1, dtype=np.float32), 0, axis)
    return means.astype(np.float32, copy=False)
