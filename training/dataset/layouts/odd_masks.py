"""Masks whose values are unlike those of the other masks, where nobody said what they mean."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from training.dataset.cases import Case
from training.dataset.dataset_yaml import CARD
from training.dataset.findings.finding import Finding

SMALL = 16
"""Up to this, numbers are counted from 0, as classes are; from twice this on, they are shades."""
FEWEST_OBJECTS = 3
FEWEST_LIKE = 3
"""Masks that are written alike, beside which one is not."""
STRAY = 10
"""Pixels of a value in all masks together that no class has."""
LISTED = 6


@dataclass(frozen=True)
class Values:
    """What a mask file holds."""

    case: Case
    pixels: Mapping[int, int]
    """By value."""
    is_one_piece: bool = False
    """Each value above 0 is; as far as somebody looked."""
    on_border: Counter[int] = field(default_factory=Counter)
    """Pixels by value, of those on the border."""

    @property
    def values(self) -> frozenset[int]:
        """That stand in it."""
        return frozenset(self.pixels)

    @property
    def foreground(self) -> list[int]:
        """Values above 0."""
        return sorted(self.values - {0})


def odd_masks(masks: Sequence[Values]) -> Iterator[Finding]:
    """Findings where some masks write a class in another way than others do."""
    found = list(two_ways(masks)) or list(_marker(masks)) or list(_numbered(masks))
    yield from found or _stray(masks)


def two_ways(masks: Sequence[Values]) -> Iterator[Finding]:
    """Masks that write one thing in several ways, by shades such as 128 and 255."""
    yield from list(_one_each(masks)) or _instead(masks)


def _instead(masks: Sequence[Values]) -> Iterator[Finding]:
    """Masks that hold one value where the others hold another one, as 1 and 2, and 1 and 255."""
    sets = Counter(frozenset(mask.foreground) for mask in masks if mask.foreground)
    fullest = [each for each in sets if not any(each < other for other in sets)]
    if len(fullest) != 2 or min(sets[each] for each in fullest) < 2:
        return
    first, second = sorted(fullest, key=max)
    if len(first) != len(second) or len(first ^ second) != 2 or max(second) < 2 * SMALL:
        return
    (here,), (there,) = first - second, second - first
    yield Finding(
        "warning",
        _first_with(there, masks),
        f"{sets[first]} masks hold the values {listed(sorted(first))}, {sets[second]} hold "
        f"{listed(sorted(second))}, and none holds both {here} and {there}: these seem to be one "
        "class that is written in two ways, and are taken for two",
        f"save all masks in one way; or, if these are classes, list them in {CARD}",
    )


def _one_each(masks: Sequence[Values]) -> Iterator[Finding]:
    """Masks of one thing each, of two shades such as 128 and 255, or of one but in one mask."""
    shown = [mask for mask in masks if mask.foreground]
    counts = Counter(value for mask in shown for value in mask.foreground)
    is_one_each = all(len(mask.foreground) == 1 for mask in shown)
    if len(counts) < 2 or not is_one_each:
        return
    is_stray = len(counts) == 2 and min(counts.values()) == 1 < FEWEST_LIKE <= max(counts.values())
    if max(counts) < 2 * SMALL and not is_stray:
        return
    told = ", ".join(f"{value} in {count}" for value, count in sorted(counts.items())[:LISTED])
    rarest = min(counts, key=lambda value: (counts[value], value))
    yield Finding(
        "warning",
        _first_with(rarest, shown),
        f"each mask holds one value beside 0, and not the same: {told}; each is taken for a class "
        "of its own",
        f"save all in one way where they are one class; or list the classes in {CARD}",
    )


def _marker(masks: Sequence[Values]) -> Iterator[Finding]:
    """A value far above all others, which often is no class."""
    foreground = sorted({value for mask in masks for value in mask.foreground})
    if len(foreground) < 2 or foreground[-1] < 2 * SMALL or foreground[-2] > SMALL:
        return
    last = foreground[-1]
    yield Finding(
        "warning",
        _first_with(last, masks),
        f"the value {last} stands far from the others, {listed(foreground[:-1])}; such a value "
        "often marks what is to be ignored, and is taken for a class here",
        f"write ignore: {last} into {CARD}; or, if it is a class, list the classes there",
    )


def _numbered(masks: Sequence[Values]) -> Iterator[Finding]:
    """Masks that number objects among masks of one class."""
    plain = [mask for mask in masks if len(mask.foreground) == 1]
    numbered = [
        mask
        for mask in masks
        if mask.is_one_piece
        and len(mask.foreground) >= FEWEST_OBJECTS
        and mask.foreground == list(range(1, len(mask.foreground) + 1))
    ]
    of_plain = {value for mask in plain for value in mask.foreground}
    shown = sum(bool(mask.foreground) for mask in masks)
    is_all = len(plain) + len(numbered) == shown
    if not numbered or not is_all or len(plain) <= len(numbered) or len(of_plain) != 1:
        return
    yield Finding(
        "warning",
        str(numbered[0].case.mask),
        f"{len(numbered)} of {shown} masks, as this one, hold the values 1 to "
        f"{numbered[0].foreground[-1]}, each in one piece, where {len(plain)} others hold "
        f"{min(of_plain)} alone: they seem to number objects, and each "
        "number is taken for a class here",
        f"save all masks in one way; or, if these are classes, list them in {CARD}",
    )


def _stray(masks: Sequence[Values]) -> Iterator[Finding]:
    """Values of a few pixels in one mask: a slip of the pen."""
    of_all: Counter[int] = Counter()
    for mask in masks:
        of_all.update(dict(mask.pixels))
    foreground = [value for value in of_all if value]
    for value in sorted(foreground):
        where = [mask for mask in masks if value in mask.values]
        if len(where) == 1 and len(masks) > 1 and of_all[value] < STRAY and len(foreground) > 1:
            yield Finding(
                "warning",
                str(where[0].case.mask),
                f"the value {value} stands in {_pixels(of_all[value])} of this mask and in no "
                "other; it is taken for a class",
                f"correct the mask; or, if it is a class, list the classes in {CARD}",
            )


def _first_with(value: int, masks: Sequence[Values]) -> str:
    return str(next(mask for mask in masks if value in mask.values).case.mask)


def _pixels(count: int) -> str:
    return "1 pixel" if count == 1 else f"{count} pixels"


def listed(values: Sequence[int], most: int = LISTED) -> str:
    """The first values, and how many more there are."""
    text = ", ".join(map(str, values[:most]))
    return f"{text} and {len(values) - most} more" if len(values) > most else text
