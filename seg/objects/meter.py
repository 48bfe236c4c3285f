"""From the slabs of an image to its objects. Letters: ``k`` logit channels."""

from collections.abc import Collection
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from seg.images import Mask
from seg.model_package import ModelCard
from seg.objects.blocks import Evidence, decode
from seg.objects.counting import count_of, probabilities_of_objects
from seg.objects.evidence import FULL, heights_of, kinds_of, seed_rules
from seg.objects.flooding import SeedRule
from seg.objects.objects import Objects


@runtime_checkable
class SlabTaker(Protocol):
    """What is told all channels of an image, rows after rows."""

    def take(
        self, start: int, logits: Float[np.ndarray, "k *slab"], labels: UInt8[np.ndarray, "*slab"]
    ) -> None:
        """Take the next rows: where they begin, their logits and their classes."""


class ObjectsMeter:
    """Sees the slabs of one image and then says where its objects are."""

    def __init__(self, card: ModelCard, shape: tuple[int, ...]) -> None:
        """Be ready for the slabs of an image of that shape."""
        self._card = card
        self.heights = np.zeros(shape, np.uint8)
        """How deep each voxel lies in its object, in 255ths."""
        self.sure = np.zeros(shape, np.uint8)
        """How probable the class of each voxel is, in 255ths."""

    def take(
        self, start: int, logits: Float[np.ndarray, "k *slab"], labels: UInt8[np.ndarray, "*slab"]
    ) -> None:
        """Take the next rows: all channels of logits, and their classes."""
        rows = slice(start, start + len(labels))
        self.heights[rows], self.sure[rows] = heights_of(logits, labels, self._card)

    def objects(self, mask: Mask, wanted: Collection[str] = ()) -> Objects:
        """The objects within a mask of all that was taken; of all classes, or of those wanted."""
        card, instances = self._card, self._card.instances
        kinds = tuple(info for info in kinds_of(card) if not wanted or info.name in wanted)
        target = card.input.preprocessing.spacing
        rules = seed_rules(instances, kinds, mask.spacing, target)
        return objects_of(card, Evidence(mask.array, self.heights), self.sure, mask, rules)


def objects_of(
    card: ModelCard,
    evidence: Evidence,
    sure: UInt8[np.ndarray, "*spatial"],
    grid: Mask,
    rules: dict[int, SeedRule],
) -> Objects:
    """Objects with their probabilities and counts.

    Args:
        card: of the model.
        evidence: of each voxel.
        sure: how probable the class of each voxel is, in 255ths.
        grid: on which they lie.
        rules: by class index.
    """
    instances = card.instances
    kinds = tuple(info for info in card.classes if info.index in rules)
    labels = np.zeros(evidence.classes.shape, np.uint32)
    decoded = decode(evidence, rules, labels, block=max(labels.shape))
    scores = mean_certainty(labels, sure, len(decoded.classes))
    probabilities = np.full(len(scores), np.nan, np.float32)
    counts = {}
    for info in kinds:
        own = decoded.classes == info.index
        rule = instances.rules[info.name] if instances else None
        probabilities[own] = probabilities_of_objects(
            scores[own], rule.probability if rule else None
        )
        counts[info.name] = count_of(int(own.sum()), rule.count if rule else None)
    return Objects(
        labels=labels,
        classes=decoded.classes,
        probabilities=probabilities,
        kinds=kinds,
        counts=counts,
        spacing=grid.spacing,
        affine=grid.affine,
        are_told_apart=instances is not None and instances.encoding != "components",
    )


def mean_certainty(
    labels: np.ndarray, sure: UInt8[np.ndarray, "*spatial"], count: int
) -> Float[np.ndarray, " n"]:
    """How sure the model is of each object: the mean probability of its class, over its voxels."""
    flat = labels.reshape(-1)
    sizes = np.bincount(flat, minlength=count + 1)[1:]
    total = np.bincount(flat, weights=sure.reshape(-1), minlength=count + 1)[1:]
    return np.asarray(total / np.maximum(sizes, 1) / FULL, np.float64)
