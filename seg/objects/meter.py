"""From the slabs of an image to its objects. Letters: ``k`` logit channels."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8, UInt32

from seg.images import Mask
from seg.images.storage.file_backed import bands, let_go
from seg.model_package import ModelCard
from seg.objects.blocks import BLOCK, Decoded, Evidence, Journal, decode
from seg.objects.counting import count_of, probabilities_of_objects
from seg.objects.evidence import FULL, heights_of, kinds_of, seed_rules
from seg.objects.flooding import SeedRule
from seg.objects.objects import Objects
from seg.objects.splitting import shapings, split, too_large_to_split

AT_ONCE = 2**23
"""Voxels of an image that is decoded as one block."""
CHUNK = 2**22
"""Voxels that are added up at once."""

MakeArray = Callable[[str, Any, tuple[int, ...]], np.ndarray]
"""Takes a name, a type and a shape."""


def in_memory(name: str, kind: Any, shape: tuple[int, ...]) -> np.ndarray:
    """An array of zeros."""
    return np.zeros(shape, kind)


@runtime_checkable
class SlabTaker(Protocol):
    """What is told all channels of an image, rows after rows."""

    def take(
        self, start: int, logits: Float[np.ndarray, "k *slab"], labels: UInt8[np.ndarray, "*slab"]
    ) -> None:
        """Take the next rows: where they begin, their logits and their classes."""


class ObjectsMeter:
    """Sees the slabs of one image and then says where its objects are."""

    def __init__(
        self,
        card: ModelCard,
        shape: tuple[int, ...],
        arrays: MakeArray = in_memory,
        journal: Journal | None = None,
    ) -> None:
        """Be ready for the slabs of an image.

        Args:
            card: of the model.
            shape: of the image.
            arrays: makes what is kept of its voxels, as in files.
            journal: of the decoding.
        """
        self._card = card
        self._zeros, self._journal = arrays, journal
        self.heights = self._zeros("heights", np.uint8, shape)
        """How deep each voxel lies in its object, in 255ths."""
        self.sure = self._zeros("sure", np.uint8, shape)
        """How probable the class of each voxel is, in 255ths."""

    def take(
        self, start: int, logits: Float[np.ndarray, "k *slab"], labels: UInt8[np.ndarray, "*slab"]
    ) -> None:
        """Take the next rows: all channels of logits, and their classes."""
        rows = slice(start, start + len(labels))
        self.heights[rows], self.sure[rows] = heights_of(logits, labels, self._card)
        let_go(self.heights, self.sure)

    def objects(
        self,
        mask: Mask,
        wanted: Collection[str] = (),
        *,
        splits: bool = False,
        is_calibrated: bool = True,
    ) -> Objects:
        """The objects within a mask of all that was taken.

        Args:
            mask: classes.
            wanted: names of classes; none stands for all.
            splits: cut what hangs together by its shape, also where the model was not taught to.
            is_calibrated: the mask was decided as those on which the model's probabilities of
                objects and intervals of counts were seen; else it has none.
        """
        card = self._card
        if card.instances and not is_calibrated:
            unsaid = {"instances": card.instances.without_calibrations}
            card = card.model_copy(update=unsaid)
        instances = card.instances
        kinds = tuple(info for info in kinds_of(card) if not wanted or info.name in wanted)
        target = card.input.preprocessing.spacing
        rules = seed_rules(instances, kinds, mask.spacing, target)
        halo = instances.halo if instances else 64
        labels = self._zeros("objects", np.uint32, mask.spatial_shape)
        evidence = Evidence(mask.array, self.heights)
        decoded = decode(
            evidence, rules, labels, block=self._block(mask), halo=halo, journal=self._journal
        )
        names = {info.index: info.name for info in kinds}
        ways = shapings(card, names, mask.spacing, asked=splits)
        if ways:
            decoded = split(labels, decoded, ways)
        scores = mean_certainty(labels, self.sure, len(decoded.classes))
        found = objects_of(card, labels, decoded, scores, mask, rules)
        if not ways:
            return found
        notes = (too_large_to_split(decoded.unsplit),) if decoded.unsplit else ()
        return replace(found, are_told_apart=True, notes=notes)

    def _block(self, mask: Mask) -> int:
        """All at once where that is little, since halos cost time."""
        is_small = mask.array.size <= AT_ONCE
        return max(mask.spatial_shape) if is_small else BLOCK[mask.dims]


def objects_of(
    card: ModelCard,
    labels: UInt32[np.ndarray, "*spatial"],
    decoded: Decoded,
    scores: Float[np.ndarray, " n"],
    grid: Mask,
    rules: Mapping[int, SeedRule],
) -> Objects:
    """Objects with their probabilities and counts.

    Args:
        card: of the model.
        labels: their numbers.
        decoded: their classes.
        scores: how sure the model is of each.
        grid: on which they lie.
        rules: by class index.
    """
    instances = card.instances
    kinds = tuple(info for info in card.classes if info.index in rules)
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
    sizes, total = np.zeros(count + 1), np.zeros(count + 1)
    for rows in bands(CHUNK, labels, sure):
        flat = np.asarray(labels[rows]).reshape(-1)
        weights = np.asarray(sure[rows]).reshape(-1)
        sizes += np.bincount(flat, minlength=count + 1)
        total += np.bincount(flat, weights=weights, minlength=count + 1)
    return np.asarray(total[1:] / np.maximum(sizes[1:], 1) / FULL, np.float64)
