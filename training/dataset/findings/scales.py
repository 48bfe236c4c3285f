"""Images that are on another scale than the others, of intensity or of space.

Letters: ``n`` cases, ``c`` channels.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import permutations

import numpy as np
from jaxtyping import Float

from training.dataset.findings.finding import Finding
from training.dataset.findings.one_case import InspectedCase

FEWEST = 3
"""Cases, below which nothing is usual."""
DEPTH_FACTOR = 4.0
"""By which the brightest of images of another number type differ, where it is another scale."""
GROUP_FACTOR = 8.0
"""By which the dimmest of bright images is brighter than the brightest of dim ones."""
WITHIN_GROUP = 3.0
"""By which images of a group differ at most."""
SAME_FLOOR = 0.03
"""Of the usual range: as near to each other lie the darkest of images that begin at one number."""
OTHER_FLOOR = 0.4
"""Of the usual range: an image that begins that far from them has another offset."""
OTHER_CHANNEL = 0.2
"""Of the usual range of all channels: as far from the usual one is a channel that is another."""
MOST_CHANNELS = 4
FITS_BETTER = 0.25
"""Of how far the channels of an image are from the usual ones, as far they are in another order."""
UNIT_FACTOR = 20.0
"""Of spacing: images are not that much finer than others, units are."""
BY_DEFAULT = 1.0
"""Spacing in mm that programs write where nobody said it."""


def other_scales(cases: Sequence[InspectedCase]) -> list[Finding]:
    """Images whose numbers, or whose voxels, are another unit than those of most."""
    looks = [look for look in cases if look.levels is not None]
    if len(looks) < FEWEST:
        return []
    return [
        *_intensities(looks),
        *_exchanged_channels(looks),
        *_spacings(looks),
        *_same_channels(looks),
    ]


def _intensities(looks: Sequence[InspectedCase]) -> Iterator[Finding]:
    channels = min(len(look.levels) for look in looks if look.levels is not None)
    levels = np.stack([look.levels[:channels] for look in looks if look.levels is not None])
    for channel, of_channel in enumerate(np.moveaxis(levels, 1, 0)):
        where = f" in channel {channel}" if channels > 1 else ""
        found = [
            *_other_types(looks, of_channel, where),
            *_two_groups(looks, of_channel, where),
            *_other_offsets(looks, of_channel, where),
        ]
        yield from found[:1]


def _warning(look: InspectedCase, problem: str, advice: str) -> Finding:
    return Finding("warning", str(look.case.images[0]), problem, advice)


def _other_types(
    looks: Sequence[InspectedCase], levels: Float[np.ndarray, "n 2"], where: str
) -> Iterator[Finding]:
    """Some files of 8 bits and some of 16, whose numbers are not the same either."""
    tops: dict[str, list[float]] = defaultdict(list)
    for look, (_, top) in zip(looks, levels, strict=True):
        tops[look.number_type].append(float(top))
    kinds = sorted(tops, key=lambda kind: (len(tops[kind]), kind))
    middle = [float(np.median(tops[kind])) for kind in kinds]
    if len(kinds) > 1 and max(middle) > DEPTH_FACTOR * max(min(middle), 1e-9):
        told = ", ".join(
            f"{len(tops[kind])} of {kind} up to {top:.4g}"
            for kind, top in zip(kinds, middle, strict=True)
        )
        rare = next(look for look in looks if look.number_type == kinds[0])
        yield _warning(
            rare,
            f"the images are on several scales{where}: {told}",
            "convert all of them in one way, without stretching each by itself",
        )


def _two_groups(
    looks: Sequence[InspectedCase], levels: Float[np.ndarray, "n 2"], where: str
) -> Iterator[Finding]:
    """Dim and bright files with nothing between, as of 12 bits beside 16."""
    order = np.argsort(levels[:, 1], kind="stable")
    tops = levels[order, 1]
    if tops[0] <= 0:
        return
    steps = tops[1:] / tops[:-1]
    at = int(steps.argmax()) + 1
    dim, bright = tops[:at], tops[at:]
    within = max(float(dim[-1] / dim[0]), float(bright[-1] / bright[0]))
    if min(len(dim), len(bright)) < 2 or steps[at - 1] < GROUP_FACTOR or within > WITHIN_GROUP:
        return
    rare = looks[int(order[0] if len(dim) <= len(bright) else order[-1])]
    yield _warning(
        rare,
        f"the images are on two scales{where}: {len(dim)} up to {np.median(dim):.4g}, "
        f"{len(bright)} up to {np.median(bright):.4g}, none between",
        "look whether some were stretched, or are of another number of bits",
    )


def _other_offsets(
    looks: Sequence[InspectedCase], levels: Float[np.ndarray, "n 2"], where: str
) -> Iterator[Finding]:
    low, high = np.median(levels, axis=0)
    extent = float(high - low)
    if extent <= 0:
        return
    begins_alike = float(np.median(np.abs(levels[:, 0] - low))) <= SAME_FLOOR * extent
    for look, (bottom, top) in zip(looks, levels, strict=True):
        is_apart = bottom > high + extent or top < low - extent
        if is_apart or (begins_alike and abs(bottom - low) > OTHER_FLOOR * extent):
            yield _warning(
                look,
                f"intensities{where} go from {bottom:.4g} to {top:.4g}, in most images from "
                f"{low:.4g} to {high:.4g}",
                "look whether an offset or a unit was forgotten, as of Hounsfield units",
            )


def _exchanged_channels(looks: Sequence[InspectedCase]) -> Iterator[Finding]:
    """Images whose channels are those of most in another order, as blue, green, red."""
    channels = {len(look.levels) for look in looks if look.levels is not None}
    if len(channels) != 1 or not 2 <= (count := channels.pop()) <= MOST_CHANNELS:
        return
    levels = np.stack([look.levels for look in looks if look.levels is not None])
    usual = np.median(levels, axis=0)
    extent = float(usual[:, 1].max() - usual[:, 0].min())
    orders = [list(each) for each in permutations(range(count))]
    away = np.abs(levels - usual).max(axis=(1, 2))
    turned = np.stack([np.abs(levels[:, each] - usual).max(axis=(1, 2)) for each in orders])
    for at, look in enumerate(looks):
        order = orders[int(turned[:, at].argmin())]
        is_other = away[at] > OTHER_CHANNEL * extent
        if is_other and turned[:, at].min() < FITS_BETTER * away[at]:
            told = ", ".join(map(str, order))
            yield _warning(
                look,
                "the channels seem to be in another order than those of most images: as bright as "
                f"theirs are, in their order, its channels {told}",
                "save it with the channels of the others, as red, green, blue and not the other "
                "way round",
            )


def _spacings(looks: Sequence[InspectedCase]) -> Iterator[Finding]:
    stated = [look for look in looks if look.spacing is not None]
    if len(stated) < FEWEST:
        return
    spacings = np.array([look.spacing for look in stated])
    usual = np.median(spacings, axis=0)
    ratios = (spacings / usual).max(axis=1), (usual / spacings).max(axis=1)
    by_default = (spacings == BY_DEFAULT).all(axis=1)
    for at, look in enumerate(stated):
        mm = " x ".join(f"{edge:.3g}" for edge in spacings[at])
        others = " x ".join(f"{edge:.3g}" for edge in usual)
        factor = float(max(ratios[0][at], ratios[1][at]))
        if factor >= UNIT_FACTOR:
            problem = f"the spacing is {mm} mm, that of most images {others}: another unit?"
        elif by_default[at] and by_default.sum() < len(stated) / 2:
            problem = (
                f"the spacing is {mm} mm, as programs write it where nobody said it, that of most "
                f"images {others}"
            )
        else:
            continue
        advice = "write the spacing in mm into its header"
        yield Finding("warning", str(look.case.images[0]), problem, advice)


def _same_channels(looks: Sequence[InspectedCase]) -> Iterator[Finding]:
    same = frozenset.intersection(*(look.same_channels for look in looks))
    if same:
        which = ", ".join(map(str, sorted(same)))
        which = f"channel {which} is a copy" if len(same) == 1 else f"channels {which} are copies"
        yield Finding(
            "warning",
            str(looks[0].case.images[0]),
            f"{which} of channel 0 in all images",
            "save one of them, as a grey image, or look for the right files",
        )
