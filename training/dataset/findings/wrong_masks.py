"""Masks that lie on their images wrongly: another image's, turned, or with both sides exchanged.

Told by thumbnails alone: how foreground and brightness go together, image by image. Measured, the
right mask reaches a correlation of 0.14 to 0.94 (hela, cho, scratch-assay, phantom, tissue, CT) and
never less than 0.97 of what a turned one or another image's reaches; of another image that is no
neighbour in a film it is 0.1 to 0.4.

Letters: ``n`` cases, ``d`` numbers of a thumbnail.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations, product
from math import prod

import numpy as np
from jaxtyping import Float32, Int

from training.dataset.cases import Dataset
from training.dataset.findings.duplicates import EDGE, NEARLY_THE_SAME, most_alike
from training.dataset.findings.finding import Finding
from training.dataset.findings.misplaced import (
    LOOK_AT_THEM,
    misplaced,
    moved_along_z,
    turn_in_words,
)
from training.dataset.findings.one_case import InspectedCase

CLEAR = 0.5
"""Correlation from which a mask lies on an image."""
LESS = 0.5
"""Of the correlation of a better place: a mask with less does not belong where it is."""
FEWEST_VOXELS = 64
"""Of a mask; smaller ones may well be the same."""
MOST_NAMED = 4
FEWEST = 2
"""Cases that a turn must be better for, and images whose masks are exchanged."""


def wrong_masks(dataset: Dataset, cases: Sequence[InspectedCase]) -> list[Finding]:
    """What the masks of a dataset look like beside each other and their images."""
    looks = [
        look
        for look in cases
        if look.thumbnail is not None
        and look.foreground is not None
        and look.thumbnail.any()
        and look.foreground.any()
    ]
    if len(looks) < FEWEST:
        return []
    images = np.stack([look.thumbnail for look in looks if look.thumbnail is not None])
    masks = np.stack([look.foreground for look in looks if look.foreground is not None])
    signed = (images * masks).sum(axis=1)
    own = np.abs(signed)
    by_brightness = [
        *_of_another(looks, own, *most_alike(images, masks, signed=False)),
        *_turned(looks, own, images, masks),
    ]
    return [
        *_copies(looks),
        *(by_brightness or misplaced(dataset, looks)),
        *([] if by_brightness else moved_along_z(looks)),
        *_inverted(looks, signed),
    ]


def _copies(looks: Sequence[InspectedCase]) -> Iterator[Finding]:
    """One mask under several names, on images that are not alike."""
    by_content: dict[str, list[InspectedCase]] = defaultdict(list)
    for look in looks:
        voxels = look.foreground_share * prod(look.shape)
        if look.mask_content is not None and voxels >= FEWEST_VOXELS:
            by_content[look.mask_content].append(look)
    for first, *rest in by_content.values():
        others = [look for look in rest if _likeness(first, look) < NEARLY_THE_SAME]
        if others:
            names = ", ".join(look.case.name for look in (first, *others[: MOST_NAMED - 1]))
            yield Finding(
                "warning",
                str(others[0].case.mask),
                f"{len(others) + 1} of {len(looks)} masks are the same to the last voxel ({names}"
                f"{', ...' if len(others) >= MOST_NAMED else ''}), and their images are not: one "
                "mask seems to have been saved for several images",
                LOOK_AT_THEM,
            )


def _likeness(one: InspectedCase, other: InspectedCase) -> float:
    if one.thumbnail is None or other.thumbnail is None:
        return 0.0
    return float(one.thumbnail @ other.thumbnail)


def _of_another(
    looks: Sequence[InspectedCase],
    own: Float32[np.ndarray, " n"],
    best: Int[np.ndarray, " n"],
    fit: Float32[np.ndarray, " n"],
) -> Iterator[Finding]:
    """Masks that have changed places, as by numbers that count from 0 here and from 1 there."""
    wrong = np.flatnonzero((fit >= CLEAR) & (own <= LESS * fit)).tolist()
    if len(wrong) < FEWEST or len({int(best[at]) for at in wrong}) < len(wrong):
        return
    first = wrong[0]
    other = looks[best[first]].case
    yield Finding(
        "warning",
        str(looks[first].case.mask),
        f"{len(wrong)} masks fit another image better than their own, as this one of case "
        f"{looks[first].case.name}, whose image is fitted by the mask of {other.name}",
        "look whether names of images and masks count from the same number, or masks were mixed up",
    )


def _turned(
    looks: Sequence[InspectedCase],
    own: Float32[np.ndarray, " n"],
    images: Float32[np.ndarray, "n d"],
    masks: Float32[np.ndarray, "n d"],
) -> Iterator[Finding]:
    """Masks that were turned against their images, all in one way."""
    dims = len(looks[0].shape)
    edges = (EDGE[dims],) * dims
    is_square = all(look.shape[-1] == look.shape[-2] for look in looks)
    better: list[tuple[int, str]] = []
    for swaps, flips in product((False, True) if is_square else (False,), _subsets(dims)):
        turned = masks.reshape(-1, *edges)
        turned = turned.swapaxes(-1, -2) if swaps else turned
        turned = np.flip(turned, tuple(axis + 1 for axis in flips)).reshape(len(masks), -1)
        fit = np.abs((images * turned).sum(axis=1))
        cases = int(((fit >= CLEAR) & (own <= LESS * fit)).sum())
        better.append((cases, turn_in_words(dims, swaps=swaps, flips=flips)))
    cases, turn = max(better)
    if cases >= max(FEWEST, len(looks) / 2):
        yield Finding(
            "warning",
            str(looks[0].case.mask),
            f"{cases} of {len(looks)} masks fit their images better when they are {turn}",
            f"{LOOK_AT_THEM}, and turn the masks",
        )


def _subsets(dims: int) -> list[tuple[int, ...]]:
    return [each for count in range(dims + 1) for each in combinations(range(dims), count)]


def _inverted(looks: Sequence[InspectedCase], own: Float32[np.ndarray, " n"]) -> Iterator[Finding]:
    """Masks whose foreground is as bright and as large as the background of the others."""
    shares = np.array([look.foreground_share for look in looks])
    clear = np.abs(own) >= CLEAR
    if not clear.any():
        return
    usual = float(np.median(shares[clear]))
    side = float(np.sign(np.median(own[clear])))
    inverted = clear & (own * side < 0) & (np.abs(shares - (1 - usual)) < np.abs(shares - usual))
    if 0 < inverted.sum() < clear.sum() / 2:
        yield from (
            Finding(
                "warning",
                str(looks[at].case.mask),
                f"foreground covers {shares[at]:.0%} and is {'dark' if side > 0 else 'bright'}, in "
                f"most masks it covers {usual:.0%} and is {'bright' if side > 0 else 'dark'}: "
                "foreground and background seem to be exchanged",
                "exchange them, or remove the case",
            )
            for at in np.flatnonzero(inverted).tolist()
        )
