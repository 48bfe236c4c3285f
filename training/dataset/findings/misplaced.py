"""Masks whose outlines run along the edges of their images elsewhere than where they lie."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from seg.errors import DatasetError
from training.dataset.cases import Case, Dataset
from training.dataset.findings.edges import EdgeFields, EdgeFit, edge_fields, edge_fit
from training.dataset.findings.finding import Finding
from training.dataset.findings.one_case import InspectedCase

CLEAR = 10.0
"""Deviations from which on outlines run along edges."""
VERY_CLEAR = 14.0
"""The same of the best of all places: of pictures full of frames, letters and other things it has
up to 9.4 by chance."""
NOWHERE = 3.0
"""Deviations below which they do not."""
BETTER = 2.0
"""Of the own correlation: a mask that fits so much better elsewhere does not belong where it is."""
A_LITTLE_BETTER = 1.1
"""The same, where nearly all masks of a dataset fit better at one place beside their own."""
SEEN = 0.1
"""Correlation along z from which on outlines run along edges."""
NEAR = 2
"""Steps: so near to its own place a single mask may fit best by chance."""
FEWEST = 3
NEARLY_ALL = 0.8
FAR_LESS = 0.25
"""Of the usual correlation: what of a film's mask still fits another of its frames."""
FEWEST_NEAR = 5
"""Masks that are moved by little, below which it is chance."""
MOST_READ = 8
"""Cases that are read once more, to see whether masks fit their neighbours' images."""
LOOK_AT_THEM = "look at images with their masks on them (--picture)"


def misplaced(dataset: Dataset, cases: Sequence[InspectedCase]) -> list[Finding]:
    """What is told by edges: they know places and turns exactly, in images of texture too."""
    looks = [_Look(look.case, look.edges, look.shape) for look in cases if look.edges]
    if len(looks) < FEWEST:
        return []
    right = [look.fit.own for look in looks if look.fit.own >= CLEAR * look.fit.noise]
    usual = float(np.median(right)) if 2 * len(right) >= len(looks) else None
    return [*_turned(looks, usual), *_moved(looks, usual)] or [*_nowhere(dataset, looks, usual)]


def moved_along_z(cases: Sequence[InspectedCase]) -> Iterator[Finding]:
    """Masks of volumes that lie some slices beside their images: single ones, or nearly all."""
    fits = [(each.case, each.along_z) for each in cases if each.along_z]
    fits = [(case, fit) for case, fit in fits if max(fit.values()) >= SEEN]
    if len(fits) < FEWEST:
        return
    places = [max(fit, key=lambda by: fit[by]) for _, fit in fits]
    ((usual, count),) = Counter(places).most_common(1)
    if count < NEARLY_ALL * len(fits):
        return
    moved = [
        (case, usual)
        for (case, fit), by in zip(fits, places, strict=True)
        if by == usual != 0 and fit[by] >= BETTER * fit[0]
    ]
    if len(moved) < NEARLY_ALL * len(fits):
        moved = [
            (case, by - usual)
            for (case, fit), by in zip(fits, places, strict=True)
            if by != usual and fit[by] >= BETTER * fit[usual]
        ]
    if not moved:
        return
    case, by = moved[0]
    slices = "one slice" if abs(by) == 1 else f"{abs(by)} slices"
    yield Finding(
        "warning",
        str(case.mask),
        f"{len(moved)} of {len(fits)} masks fit their volumes better when they are moved along z, "
        f"this one by {slices} towards the {'last' if by > 0 else 'first'}",
        f"{LOOK_AT_THEM}, and move the masks",
    )


def turn_in_words(dims: int, *, swaps: bool, flips: Sequence[int]) -> str:
    """How arrays are turned.

    Args:
        dims: of the arrays.
        swaps: their last two axes are exchanged.
        flips: axes that they are mirrored along after that.
    """
    names = "zyx"[-dims:]
    words = ["x and y exchanged"] if swaps else []
    if flips:
        words.append(f"mirrored along {' and '.join(names[axis] for axis in flips)}")
    return ", ".join(words)


class _Look(NamedTuple):
    case: Case
    fit: EdgeFit
    shape: tuple[int, ...]

    @property
    def is_turned(self) -> bool:
        fit = self.fit
        return fit.turned >= max(CLEAR * fit.noise, BETTER * fit.own, fit.moved)

    @property
    def is_moved(self) -> bool:
        fit = self.fit
        return fit.moved >= max(CLEAR * fit.noise, A_LITTLE_BETTER * fit.own)

    @property
    def is_far(self) -> bool:
        """It is moved by so much that this is no chance."""
        fit = self.fit
        is_near = max(map(abs, fit.shift)) <= NEAR * fit.step
        return not is_near and fit.moved >= max(VERY_CLEAR * fit.noise, BETTER * fit.own)

    @property
    def share(self) -> tuple[float, ...]:
        """Of the image, by which it is moved."""
        pairs = zip(self.fit.shift, self.shape[-2:], strict=True)
        return tuple(round(abs(by) / size, 2) for by, size in pairs)

    @property
    def is_lost(self) -> bool:
        fit = self.fit
        is_elsewhere = max(fit.turned, fit.moved) >= CLEAR * fit.noise > fit.own
        return fit.own < NOWHERE * fit.noise and not is_elsewhere


def _turned(looks: Sequence[_Look], usual: float | None) -> Iterator[Finding]:
    turned = [look for look in looks if look.is_turned]
    for turn in dict.fromkeys(look.fit.turn for look in turned):
        of_turn = [look for look in turned if look.fit.turn == turn]
        if 2 * len(of_turn) < len(looks):
            least = np.inf if usual is None else usual / BETTER
            of_turn = [look for look in of_turn if look.fit.turned >= least]
        words = turn_in_words(2, swaps=turn.swaps, flips=turn.flips)
        yield from _told(
            of_turn,
            f"{len(of_turn)} of {len(looks)} masks fit their images better when they are {words}",
            f"{LOOK_AT_THEM}, and turn the masks",
        )


def _moved(looks: Sequence[_Look], usual: float | None) -> Iterator[Finding]:
    moved = [look for look in looks if look.is_moved and not look.is_turned]
    shifts = Counter(look.fit.shift for look in moved).most_common(1)
    shares = Counter(look.share for look in moved if look.is_far).most_common(1)
    if shifts and shifts[0][1] >= max(FEWEST_NEAR, NEARLY_ALL * len(looks)):
        moved = [look for look in moved if look.fit.shift == shifts[0][0]]
    elif shares and 2 * shares[0][1] >= len(looks):
        moved = [look for look in moved if look.is_far and look.share == shares[0][0]]
    elif usual is not None:
        moved = [look for look in moved if look.is_far and look.fit.moved >= usual / BETTER]
    else:
        return
    if moved:
        yield from _told(
            moved,
            f"{len(moved)} of {len(looks)} masks fit their images better when they are moved, this "
            f"one by {_shift_in_words(*moved[0].fit.shift)}",
            f"{LOOK_AT_THEM}, and move the masks",
        )


def _shift_in_words(down: int, right: int) -> str:
    ways = [(down, "up", "down"), (right, "left", "right")]
    words = [f"{abs(by)} {more if by > 0 else less}" for by, less, more in ways if by]
    return f"{' and '.join(words)}, in pixels"


def _nowhere(dataset: Dataset, looks: Sequence[_Look], usual: float | None) -> Iterator[Finding]:
    lost = [look for look in looks if look.is_lost]
    right = [look for look in looks if look.fit.own >= CLEAR * look.fit.noise]
    if usual is not None and len(right) >= NEARLY_ALL * len(looks):
        lost += [look for look in looks if not look.is_lost and look.fit.own < FAR_LESS * usual]
        for look in lost:
            yield from _told(
                [look],
                "the outlines of this mask run along no edges of its image, as those of most masks "
                "do: it may belong to another image, or lie at another place or in another size",
                LOOK_AT_THEM,
            )
    elif dataset.dims == 2 and (by := _fit_neighbours(dataset, lost)):
        yield from _told(
            lost,
            f"{len(lost)} of {len(looks)} masks do not fit their images, but those of the case "
            f"{'after' if by > 0 else 'before'} theirs",
            "look whether names of images and masks count from the same number",
        )


def _fit_neighbours(dataset: Dataset, lost: Sequence[_Look]) -> int:
    """1 where masks fit the images of the next cases, -1 where those before, 0 where neither."""
    fields = [_read_fields(dataset, look) for look in lost[:MOST_READ]]
    pairs = [
        (one, other)
        for one, other in pairwise(fields)
        if one and other and one.labels.shape == other.labels.shape
    ]
    after = sum(_is_clear(one._replace(edges=other.edges)) for one, other in pairs)
    before = sum(_is_clear(other._replace(edges=one.edges)) for one, other in pairs)
    if max(after, before) < max(FEWEST - 1, NEARLY_ALL * len(pairs)):
        return 0
    return 1 if after > before else -1


def _read_fields(dataset: Dataset, look: _Look) -> EdgeFields | None:
    try:
        return edge_fields(*dataset.read(look.case))
    except DatasetError:  # it was read before
        return None


def _is_clear(fields: EdgeFields) -> bool:
    fit = edge_fit(fields)
    return fit.own >= CLEAR * fit.noise


def _told(looks: Sequence[_Look], problem: str, advice: str) -> Iterator[Finding]:
    """At the first of them; nothing where there is none."""
    if looks:
        yield Finding("warning", str(looks[0].case.mask), problem, advice)
