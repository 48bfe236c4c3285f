"""Background where nothing stands out. Letters: ``c`` channels, ``k`` channels of logits."""

from collections import deque
from collections.abc import Collection, Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage

from seg.inference.labels.decision import labels_of
from seg.inference.tiling.blending import Slab
from seg.inference.tiling.sliding_window import WindowCounts
from seg.model_package import ModelCard, ObjectLevel, StandsOut
from seg.objects import class_logits
from seg.objects.evidence import channels_of_objects
from seg.transforms import Normalisation, Rows
from seg.transforms.intensity import reference_scaling


def is_on_scale(image: Rows, rules: Sequence[Normalisation]) -> bool:
    """Whether the intensities are the training's, so that its levels mean the same."""
    pairs = zip(rules, image.scalings, strict=True)
    return all(rule.kind == "reference" and reference_scaling(rule) == own for rule, own in pairs)


def where_something_stands_out(
    slabs: Iterator[Slab],
    image: Rows,
    card: ModelCard,
    background: Float32[np.ndarray, " k"],
    counts: WindowCounts | None = None,
) -> Iterator[Slab]:
    """The logits, and those of background where the network's objects do not stand out.

    A rule of some classes takes these only: what else is likeliest there stays.

    Rows wait until as many beyond them are known as the rule looks at, and of the image they are
    read once more. In ``counts`` is noted what the network said there.
    """
    rule = card.input.stands_out
    assert rule is not None
    steps = max(rule.reach)
    channels = None if rule.classes is None else channels_of(card, rule.classes)
    empty = background.reshape(-1, *(1,) * (len(image.shape) - 1))
    waiting: deque[Slab] = deque()
    objects, first = np.zeros((0, *image.shape[2:]), bool), 0
    for slab in slabs:
        waiting.append(slab)
        labels = labels_of(class_logits(slab.logits, card)[: card.outputs], card.task)
        own_classes = labels > 0 if rule.classes is None else np.isin(labels, rule.classes)
        objects = np.concatenate([objects, own_classes])
        while waiting and min(waiting[0].stop + steps, image.shape[1]) <= slab.stop:
            ready = waiting.popleft()
            low, high = max(0, ready.start - steps), min(image.shape[1], ready.stop + steps)
            objects, first = objects[low - first :], low
            own = slice(ready.start - low, ready.stop - low)
            shown = objects[: high - low]
            near, kept = founded(shown, _seeds(image, low, high, rule), rule)
            unfounded = (shown & ~kept)[own]
            if counts is not None and ready.start >= counts.unfounded_to:
                counts.unfounded += int(np.count_nonzero(unfounded))
                counts.founded += int(np.count_nonzero(kept[own]))
                counts.unfounded_to = ready.stop
            gone = unfounded | ~near[own]
            yield Slab(ready.start, ready.stop, _without(ready.logits, gone, empty, channels))


def channels_of(card: ModelCard, classes: Collection[int]) -> list[int]:
    """The channels of exclusive classes, and of their borders."""
    borders = channels_of_objects(card, "border")
    return [*classes, *(channel for index, channel in borders.items() if index in classes)]


def _without(
    logits: Float32[np.ndarray, "k *rows"],
    gone: Bool[np.ndarray, "*rows"],
    empty: Float32[np.ndarray, "k *ones"],
    channels: Sequence[int] | None,
) -> Float32[np.ndarray, "k *rows"]:
    """Background there, or of the other channels' classes the likeliest."""
    if not gone.any():
        return logits
    if channels is None:
        return np.where(gone, empty, logits)
    least = np.minimum(logits.min(axis=0), empty.min())
    left = logits.copy()
    for channel in channels:
        left[channel] = np.where(gone, least, logits[channel])
    return left


def founded(
    objects: Bool[np.ndarray, "*part"], seeds: Bool[np.ndarray, "*part"], rule: StandsOut
) -> tuple[Bool[np.ndarray, "*part"], Bool[np.ndarray, "*part"]]:
    """Voxels within reach of one that stands out, and those of objects that hold one in reach.

    Of an object only what can be walked to within it: else the noise beside a cell would stay.
    """
    if not seeds.any():
        return seeds, seeds
    sizes = [2 * reach + 1 for reach in rule.reach]
    near = ndimage.maximum_filter(seeds.view(np.uint8), sizes, mode="constant") > 0
    around = ndimage.generate_binary_structure(objects.ndim, objects.ndim)
    kept = seeds & objects
    if steps := max(rule.reach):
        kept = ndimage.binary_dilation(kept, around, iterations=steps, mask=objects)
    return np.asarray(near), np.asarray(kept & near)


def _seeds(image: Rows, start: int, stop: int, rule: StandsOut) -> Bool[np.ndarray, "*part"]:
    """What stands out in some rows."""
    halo = rule.core[0] // 2 + rule.smoothing[0] // 2
    first, last = max(0, start - halo), min(image.shape[1], stop + halo)
    part = image.rows(first, last)
    found = reaching(*plain_extremes(part, rule.smoothing, rule.core), rule.levels)
    return found[start - first : stop - first]


def plain_extremes(
    part: Float32[np.ndarray, "c *part"], smoothing: Sequence[int], core: Sequence[int]
) -> tuple[Float32[np.ndarray, "c *part"], Float32[np.ndarray, "c *part"]]:
    """The largest and the smallest smoothed intensity of the box around each voxel."""
    smoothed = [ndimage.uniform_filter(x, smoothing, mode="nearest") for x in part]
    return (
        np.stack([ndimage.maximum_filter(x, core, mode="nearest") for x in smoothed]),
        np.stack([ndimage.minimum_filter(x, core, mode="nearest") for x in smoothed]),
    )


def reaching(
    largest: Float32[np.ndarray, "c *part"],
    smallest: Float32[np.ndarray, "c *part"],
    levels: Sequence[ObjectLevel | None],
) -> Bool[np.ndarray, "*part"]:
    """Voxels whose box is as bright, or as dark, as objects everywhere, in one channel at least."""
    found = np.zeros(largest.shape[1:], bool)
    for high, low, level in zip(largest, smallest, levels, strict=True):
        if level is not None:
            found |= low >= level.limit if level.side == "above" else high <= level.limit
    return found
