"""Which value of masks is background, where nobody said; by what takes their borders."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Int, Integer

from training.dataset.dataset_yaml import CARD
from training.dataset.findings.finding import Finding
from training.dataset.layouts.odd_masks import Values, listed

MOST = 0.6
"""Of the borders of all masks, and of nearly each: what takes it looks like background."""
NEARLY_ALL = 0.8
TOUCHING = 0.02
"""Of all contacts, up to which two values are taken to be kept apart by a third."""
GREY = (64, 192)
"""Between black and white."""
_UNKNOWN = "the band of a trimap, which says neither object nor background"


def border_counts(labels: Integer[np.ndarray, "*spatial"]) -> Counter[int]:
    """Pixels of each value on the border of a mask, or of each slice."""
    rows = [labels[..., 0, :], labels[..., -1, :], labels[..., 0], labels[..., -1]]
    values, counts = np.unique(np.concatenate([row.ravel() for row in rows]), return_counts=True)
    return Counter(dict(zip(values.tolist(), counts.tolist(), strict=True)))


def contact_counts(labels: Integer[np.ndarray, "*spatial"]) -> Int[np.ndarray, "256 256"]:
    """How often values up to 255 lie side by side in rows and columns; both ways."""
    pairs = np.zeros(256 * 256, np.int64)
    for axis in (-1, -2):
        one = np.moveaxis(labels, axis, 0)[:-1].astype(np.int32)
        other = np.moveaxis(labels, axis, 0)[1:].astype(np.int32)
        edge = one != other
        pairs += np.bincount(one[edge] * 256 + other[edge], minlength=len(pairs))
    square = pairs.reshape(256, 256)
    return square + square.T


def doubtful_background(
    masks: Sequence[Values], contacts: Int[np.ndarray, "256 256"]
) -> Iterator[Finding]:
    """Masks that are inside out, or trimaps, or hold no background."""
    values = sorted(set().union(*(mask.values for mask in masks)))
    background = _on_borders(masks)
    band = _band(values, contacts)
    if values[0] == 0 and background:
        yield _inside_out(masks, values, background)
    elif values[0] == 0 and band and GREY[0] <= band <= GREY[1]:
        yield _trimap(masks, 0, values, band)
    elif values[0] > 0 and band and background and background != band:
        yield _trimap(masks, background, values, band)
    else:
        yield from _without_background(masks, background)


def _on_borders(masks: Sequence[Values]) -> int | None:
    """The value that takes most of the borders of nearly all masks, and most of what they show."""
    shown = [mask for mask in masks if len(mask.values) > 1]
    borders, pixels = Counter[int](), Counter[int]()
    for mask in shown:
        borders.update(mask.on_border)
        pixels.update(dict(mask.pixels))
    if not borders:
        return None
    value, count = borders.most_common(1)[0]
    takes = [mask.on_border[value] >= MOST * mask.on_border.total() for mask in shown]
    is_most = count >= MOST * borders.total() and 2 * pixels[value] >= pixels.total()
    return value if is_most and sum(takes) >= NEARLY_ALL * len(takes) else None


def _band(values: Sequence[int], contacts: Int[np.ndarray, "256 256"]) -> int | None:
    """Of three values the one that keeps the others apart: the last, or the one in the middle."""
    if len(values) != 3 or values[-1] > 255:
        return None
    low, middle, high = values
    inner, band, outer = (low, middle, high) if low == 0 else (low, high, middle)
    between = contacts[inner, band], contacts[band, outer]
    is_apart = contacts[inner, outer] <= TOUCHING * sum(between)
    return band if min(between) > 0 and is_apart else None


def _inside_out(masks: Sequence[Values], values: Sequence[int], background: int) -> Finding:
    objects = [value for value in values if value != background]
    entries = ", ".join(f"{{name: ..., value: {value}}}" for value in objects)
    return Finding(
        "warning",
        str(masks[0].case.mask),
        f"the value {background} takes the borders of nearly all masks and most of what they show, "
        f"with {listed(objects)} inside: the masks look inverted, and 0 is taken for background",
        f"if {background} is background, write classes: [{{name: background, value: {background}}},"
        f" {entries}] into {CARD}; if 0 is, list the classes there",
    )


def _trimap(masks: Sequence[Values], background: int, values: Sequence[int], band: int) -> Finding:
    (inner,) = set(values) - {background, band}
    return Finding(
        "warning",
        str(next(mask for mask in masks if band in mask.values).case.mask),
        f"the value {band} lies between {background} and {inner} everywhere, like {_UNKNOWN}; it "
        "is taken for a class here",
        f"write classes: [{{name: background, value: {background}}}, {{name: ..., value: {inner}}}]"
        f" and ignore: {band} into {CARD}; or, if it is a class, list all of them there",
    )


def _without_background(masks: Sequence[Values], background: int | None) -> Iterator[Finding]:
    """One class everywhere is looked at by itself, case by case."""
    without = [mask for mask in masks if 0 not in mask.values and len(mask.values) > 1]
    if not without:
        return
    least = min(without[0].values)
    if len(without) == len(masks):
        likely = background or least
        problem = (
            f"no mask holds 0, so no pixel is background; the value {likely} is taken for a class"
        )
        advice = (
            f"if {likely} is background, say so in {CARD}: {{name: background, value: {likely}}}"
        )
    else:
        problem = (
            f"{len(without)} of {len(masks)} masks, as this one, hold no 0 (background) and the "
            f"values {listed(without[0].foreground)}: are they counted from {least}?"
        )
        advice = "write them as the others are written; keep them if they show no background"
    yield Finding("warning", str(without[0].case.mask), problem, advice)
