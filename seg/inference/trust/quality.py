"""What a model knows of its own mask: how sure it is, and how well it will have done.

Everything is computed from slabs of logits as they come, so it costs no more memory than the maps
that are asked for. Letters: ``b`` batch, ``k`` channels of logits.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from seg.images import ClassInfo, Image, MadeBy, Mask
from seg.inference.labels.decision import probabilities_of
from seg.inference.labels.selection import EVERYTHING, Selection
from seg.inference.tiling.blending import Slab
from seg.inference.tiling.sliding_window import WindowCounts
from seg.inference.trust.entropy import probabilities_and_entropy
from seg.metrics import expected_dice
from seg.model_package import ModelCard, Task
from seg.objects import Objects

MapName = Literal["probabilities", "uncertainty", "disagreement"]
"""``probabilities`` of each channel of logits; ``uncertainty``, their entropy; ``disagreement`` of
several networks, or of one network on mirrored patches. All in [0, 1]."""

MAP_NAMES: tuple[MapName, ...] = get_args(MapName)
"""All that may be asked for."""

BLOCK = 2**16
"""Voxels whose probabilities are held at once: few enough for a core's cache."""


@dataclass(frozen=True)
class Quality:
    """How good a mask is thought to be."""

    predicted_dice: Mapping[str, float] = field(default_factory=dict)
    """By class, of the classes in the mask on which the package has a calibration."""
    expected_error: Mapping[str, float] = field(default_factory=dict)
    """Mean absolute error of ``predicted_dice`` on cases with a reference, where it is known."""
    uncertainty: float | None = None
    """Mean normalised entropy, in [0, 1], over the voxels of the mask's foreground."""
    disagreement: float | None = None
    """The same of the disagreement, where its map was asked for."""
    warnings: tuple[str, ...] = ()
    """In which ways the image is unlike those of the training, as sentences."""


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A mask with what the model knows of it."""

    mask: Mask
    quality: Quality
    maps: Mapping[MapName, Image] = field(default_factory=dict)
    """float16, on the mask's grid."""
    windows: WindowCounts = field(default_factory=WindowCounts)
    classes: tuple[ClassInfo, ...] = ()
    """Background and what the mask may hold, with the indices of the model."""
    channels: tuple[str, ...] = ()
    """Names of the channels of its map of probabilities."""
    made_by: MadeBy | None = None
    """The model."""
    objects: Objects | None = None
    """Where they were asked for."""


class QualityMeter:
    """Sees the slabs of one image and then says what they tell."""

    def __init__(
        self,
        card: ModelCard,
        shape: tuple[int, ...] = (),
        maps: Collection[MapName] = (),
        selection: Selection = EVERYTHING,
    ) -> None:
        """Be ready for the slabs of an image; its shape matters to maps only."""
        self._card = card
        self._selection = selection
        self._channels = selection.outputs_of(card)
        by_likeliest = selection.threshold is None  # as the calibration was
        self._known = card.quality.dice if card.quality and by_likeliest else {}
        self._temperature = card.quality.temperature if card.quality else 1.0
        self._sums = np.zeros((3, card.outputs))
        self._unsure = np.zeros(2)
        self._foreground = 0
        sizes: dict[MapName, int] = {
            "probabilities": len(self._channels), "uncertainty": 1, "disagreement": 1,
        }  # fmt: skip
        self.maps: dict[MapName, np.ndarray] = {
            name: np.zeros((sizes[name], *shape), np.float16) for name in maps
        }

    def __call__(self, slab: Slab, labels: UInt8[np.ndarray, "*slab"]) -> None:
        """Take the next rows."""
        for rows in _blocks(labels.shape):
            self._take(slab.logits[:, rows], labels[rows], slab.start + rows.start)

    def quality(self, warnings: tuple[str, ...] = ()) -> Quality:
        """What the slabs told."""
        card, known = self._card, self._known
        expected = expected_dice(*self._sums)
        classes = [info.name for info in card.classes[len(card.classes) - card.outputs :]]
        predicted = {
            classes[channel]: float(
                known[classes[channel]].predicted(expected[channel : channel + 1])[0]
            )
            for channel in self._channels
            if classes[channel] in known and np.isfinite(expected[channel])
        }
        errors = {name: known[name].expected_error for name in predicted}
        uncertainty, disagreement = (
            float(each / self._foreground) if self._foreground else None for each in self._unsure
        )
        return Quality(
            predicted_dice=predicted,
            expected_error={name: each for name, each in errors.items() if each is not None},
            uncertainty=uncertainty,
            disagreement=disagreement if "disagreement" in self.maps else None,
            warnings=warnings,
        )

    def _take(
        self,
        logits: Float32[np.ndarray, "channels *rows"],
        labels: UInt8[np.ndarray, "*rows"],
        first: int,
    ) -> None:
        outputs, task = self._card.outputs, self._card.task
        own = logits[:outputs]
        is_as_it_was = self._temperature == 1
        tempered = own if is_as_it_was else own / np.float32(self._temperature)
        probabilities, unsure = probabilities_and_entropy(tempered, task)
        if self._known:
            untempered = probabilities if is_as_it_was else probabilities_of(own, task)
            add_sums(self._sums, untempered, labels, task)
        inside = self._selection.applied(labels, self._card.classes) > 0
        self._foreground += int(np.count_nonzero(inside))
        self._unsure[0] += _sum_where(unsure, inside)
        rows = slice(first, first + len(labels))
        if "probabilities" in self.maps:
            self.maps["probabilities"][:, rows] = probabilities[self._channels]
        if "uncertainty" in self.maps:
            self.maps["uncertainty"][0, rows] = unsure
        if "disagreement" in self.maps:
            self.maps["disagreement"][0, rows] = logits[outputs]
            self._unsure[1] += _sum_where(logits[outputs], inside)


def add_sums(
    sums: Float[np.ndarray, "3 k"],
    probabilities: Float32[np.ndarray, "k *rows"],
    labels: UInt8[np.ndarray, "*rows"],
    task: Task,
) -> None:
    """Add what ``expected_dice`` needs: overlap, probability and predicted voxels of each class.

    The probabilities are the network's own, without a temperature: the calibration of the Dice
    takes its place.
    """
    axes = tuple(range(1, probabilities.ndim))
    sums[1] += probabilities.sum(axis=axes)
    if task == "regions":  # they overlap, and the later ones hide the earlier ones in a label map
        inside = probabilities > 0.5
        sums[0] += probabilities.sum(axis=axes, where=inside)
        sums[2] += np.count_nonzero(inside, axis=axes)
    else:  # the class of the label is the likeliest one
        winner = probabilities.max(axis=0)
        for index in range(len(probabilities)):
            inside = labels == index
            if count := np.count_nonzero(inside):
                sums[0, index] += _sum_where(winner, inside)
                sums[2, index] += count


def _sum_where(x: Float32[np.ndarray, "*rows"], inside: Bool[np.ndarray, "*rows"]) -> float:
    """A scalar product, which is many times as fast as picking the voxels out."""
    return float(np.dot(x.reshape(-1), inside.reshape(-1).astype(np.float32)))


def _blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    rows = max(1, BLOCK // max(1, prod(shape[1:])))
    for start in range(0, shape[0], rows):
        yield slice(start, min(start + rows, shape[0]))
