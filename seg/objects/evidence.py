"""What a network says of objects, kept as three bytes a voxel. Letters: ``k`` logit channels."""

from collections.abc import Mapping
from math import prod
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, UInt8
from scipy.special import logsumexp

from seg.errors import PackageError
from seg.images import ClassInfo, Spacing
from seg.model_package import Instances, ModelCard, ObjectRule
from seg.objects.flooding import SeedRule

FULL = 255
"""A probability, or a depth, of 1."""


def class_logits(
    logits: Float[np.ndarray, "k *part"], card: ModelCard
) -> Float[np.ndarray, "c *part"]:
    """Logits of the classes alone, a border's given to its class; further channels stay behind."""
    instances = card.instances
    if instances is None or not instances.channels:
        return logits
    classes, rest = logits[: card.outputs], logits[card.logits :]
    if instances.border_channels:
        classes = classes.copy()
        for index, channel in channels_of_objects(card, "border").items():
            np.logaddexp(classes[index], logits[channel], out=classes[index])
    return np.concatenate([classes, rest]) if len(rest) else classes


def channels_of_objects(card: ModelCard, group: Literal["border", "distance"]) -> Mapping[int, int]:
    """For each class of objects, by index, its channel among those of borders or of distances."""
    if card.instances is None or group not in card.instances.channels_for:
        return {}
    first = card.outputs + card.instances.first_channel(group)
    return {info.index: first + place for place, info in enumerate(kinds_of(card))}


def kinds_of(card: ModelCard) -> tuple[ClassInfo, ...]:
    """Classes that have objects.

    Raises:
        PackageError: a rule is of no class.
    """
    if card.instances is None:
        return card.classes[1:]
    kinds = tuple(info for info in card.classes[1:] if info.name in card.instances.rules)
    if len(kinds) != len(card.instances.rules):
        raise PackageError("model.json tells objects apart of a class that it does not have")
    return kinds


def heights_of(
    logits: Float[np.ndarray, "k *part"], labels: UInt8[np.ndarray, "*part"], card: ModelCard
) -> tuple[UInt8[np.ndarray, "*part"], UInt8[np.ndarray, "*part"]]:
    """How deep each voxel lies in its object, and how probable its class is; in 255ths.

    Args:
        logits: all channels.
        labels: class of each voxel.
        card: of the model.
    """
    heights = np.full(labels.shape, FULL, np.uint8)
    sure = np.zeros(labels.shape, np.uint8)
    instances = card.instances
    encoding = instances.encoding if instances else "components"
    of_classes = logits[: card.votes]
    total = logsumexp(of_classes, axis=0) if card.task == "exclusive" else None
    borders, distances = (channels_of_objects(card, group) for group in ("border", "distance"))
    for info in kinds_of(card):
        inside = labels == info.index
        if not inside.any():
            continue
        own = of_classes[info.index - (card.task == "regions")][inside]
        probability = _probability(own, None if total is None else total[inside])
        if encoding == "border":
            heights[inside] = _bytes(probability)
        elif encoding == "distance":
            heights[inside] = _bytes(logits[distances[info.index]][inside])
        if total is not None and info.index in borders:
            own = np.logaddexp(own, of_classes[borders[info.index]][inside])
            probability = _probability(own, total[inside])
        sure[inside] = _bytes(probability)
    return heights, sure


def _probability(
    logits: Float[np.ndarray, " n"], total: Float[np.ndarray, " n"] | None
) -> Float32[np.ndarray, " n"]:
    if total is None:
        return np.asarray(1 / (1 + np.exp(-logits)), np.float32)
    return np.asarray(np.exp(logits - total), np.float32)


def _bytes(share: Float[np.ndarray, " n"]) -> UInt8[np.ndarray, " n"]:
    return np.asarray(np.rint(np.clip(share, 0, 1) * FULL), np.uint8)


def seed_rules(
    instances: Instances | None,
    kinds: tuple[ClassInfo, ...],
    spacing: Spacing | None = None,
    target: tuple[float | None, ...] | None = None,
) -> dict[int, SeedRule]:
    """The rules of a package in voxels of an image.

    Args:
        instances: of the package; None for components.
        kinds: classes of objects.
        spacing: of the image, in mm.
        target: of the network's grid, in mm.
    """
    scale = voxels_of_image(spacing, target)
    rules = {info.index: ObjectRule() for info in kinds}
    if instances is not None:
        rules = {info.index: instances.rules[info.name] for info in kinds}
    return {index: seed_rule(rule, scale) for index, rule in rules.items()}


def seed_rule(rule: ObjectRule, scale: float) -> SeedRule:
    """A rule in voxels of an image, of which so many make one of the network's grid."""
    return SeedRule(
        height=max(1, round(rule.seed * FULL)),
        smallest_seed=max(1, round(rule.smallest_seed * scale)),
        smallest=max(1, round(rule.smallest * scale)),
    )


def voxels_of_image(spacing: Spacing | None, target: tuple[float | None, ...] | None) -> float:
    """Voxels of an image for each of the network's grid; 1 where either spacing is not known."""
    if spacing is None or target is None or None in target:
        return 1.0
    return prod(mm for mm in target if mm is not None) / prod(spacing)
