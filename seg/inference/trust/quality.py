"""What a model knows of its own mask: how sure it is, and how well it will have done.

Everything is computed from slabs of logits as they come, so it costs no more memory than the maps
that are asked for. Letters: ``b`` batch, ``k`` channels of logits.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from seg.images import ClassInfo, Image, MadeBy, Mask
from seg.inference.backends.deciding import Decided
from seg.inference.backends.features import Heard
from seg.inference.labels.decision import probabilities_of
from seg.inference.labels.entropy import probabilities_and_entropy
from seg.inference.labels.selection import EVERYTHING, Selection
from seg.inference.tiling.blending import Slab
from seg.inference.tiling.sliding_window import WindowCounts
from seg.inference.trust.familiarity import NOTHING_SHOWN
from seg.metrics import PredictedDice, expected_dice, spread_of
from seg.model_package import ModelCard, Task
from seg.names import MapName
from seg.objects import Objects
from seg.sentences import Sentence

UNFOUNDED = 0.1
"""Share of the voxels of objects that stand out, from which on it is a warning that others were
background."""
LITTLE = 0.5
"""Share of the usual Dice below which its prediction is a warning."""
ALLOWANCE = 1.5
"""An image may be so much stranger than the strangest held-back piece."""
BLOCK = 2**16
"""Voxels whose probabilities are held at once: few enough for a core's cache."""


@dataclass(frozen=True)
class Quality:
    """How good a mask is thought to be."""

    predicted_dice: Mapping[str, float] = field(default_factory=dict)
    """By class, of the classes in the mask on which the package has a calibration."""
    expected_error: Mapping[str, float] = field(default_factory=dict)
    """Mean absolute error of ``predicted_dice`` on cases with a reference, where it is known."""
    interval: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """That holds the true Dice of about nine of ten images, also of such as are unlike those of the
    training; of packages that were taught so."""
    strangeness: float | None = None
    """How far what the network saw lies from what it saw in training, in multiples of the usual."""
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
    threshold: float = 0.5
    """Probability above which a voxel lies in a region, where classes are regions."""
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
        self._voxels = 0
        self.voxels_each = 1.0
        """Voxels of the image for each that is told of."""
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

    @property
    def state(self) -> tuple[Float[np.ndarray, "3 k"], Float[np.ndarray, "4"]]:
        """What was added up so far, but maps: for another meter to go on with."""
        numbers = np.array([*self._unsure, self._foreground, self._voxels], np.float64)
        return self._sums.copy(), numbers

    @state.setter
    def state(self, told: tuple[Float[np.ndarray, "3 k"], Float[np.ndarray, "4"]]) -> None:
        self._sums, numbers = told[0].copy(), told[1]
        self._unsure = numbers[:2].copy()
        self._foreground, self._voxels = int(numbers[2]), int(numbers[3])

    @property
    def needs_logits(self) -> bool:
        """Whether what was asked for cannot be said of labels, their probability and entropy."""
        return not self.maps.keys() <= {"uncertainty"}

    def take_decided(self, where: tuple[slice, ...], decided: Decided) -> None:
        """Take a part of the image of which the logits stayed where the network runs."""
        labels, unsure = decided.labels, decided.entropy
        self._voxels += labels.size
        if self._known:
            self._sums[1] += decided.mass
            likeliest = decided.likeliest.astype(np.float32)
            _add_overlaps(self._sums, likeliest, labels)
        self._take_unsure(unsure.astype(np.float32), labels)
        if "uncertainty" in self.maps:
            self.maps["uncertainty"][0][where] = unsure

    def _take_unsure(
        self, unsure: Float32[np.ndarray, "*rows"], labels: UInt8[np.ndarray, "*rows"]
    ) -> Bool[np.ndarray, "*rows"]:
        inside: np.ndarray = self._selection.applied(labels, self._card.classes) > 0
        self._foreground += int(np.count_nonzero(inside))
        self._unsure[0] += _sum_where(unsure, inside)
        return inside

    def quality(
        self, warnings: tuple[str, ...] = (), counts: WindowCounts | None = None
    ) -> Quality:
        """What the slabs told, and what the networks saw meanwhile."""
        counts = counts or WindowCounts()
        card, known = self._card, self._known
        expected, spread = expected_dice(*self._sums), spread_of(*self._sums)
        classes = [info.name for info in card.classes[len(card.classes) - card.outputs :]]
        strangeness = strangeness_of(counts.heard, card)
        predicted = {
            classes[channel]: known[classes[channel]].predict(
                float(expected[channel]),
                strangeness,
                round(self._voxels * self.voxels_each),
                spread[channel],
            )
            for channel in self._channels
            if classes[channel] in known and np.isfinite(expected[channel])
        }
        if NOTHING_SHOWN in warnings:
            predicted = {name: _of_nothing(each) for name, each in predicted.items()}
        warnings += tuple(_doubts(predicted, strangeness, card))
        if counts.unfounded > UNFOUNDED * counts.founded:
            warnings += (
                Sentence(
                    f"the network saw objects in {counts.unfounded} voxels where nothing stands "
                    "out as those of the training do, and they were taken for background: an "
                    "image that is nearly empty, or one with fainter objects?",
                    "unfounded_objects",
                    voxels=counts.unfounded,
                ),
            )
        uncertainty, disagreement = (
            float(each / self._foreground) if self._foreground else None for each in self._unsure
        )
        return Quality(
            predicted_dice={name: each.dice for name, each in predicted.items()},
            expected_error={
                name: each.expected_error
                for name, each in predicted.items()
                if each.expected_error is not None
            },
            interval={name: each.interval for name, each in predicted.items() if each.interval},
            strangeness=strangeness if math.isfinite(strangeness) else None,
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
        self._voxels += labels.size
        outputs, task = self._card.outputs, self._card.task
        own = logits[:outputs]
        is_as_it_was = self._temperature == 1
        tempered = own if is_as_it_was else own / np.float32(self._temperature)
        probabilities, unsure = probabilities_and_entropy(tempered, task)
        if self._known:
            untempered = probabilities if is_as_it_was else probabilities_of(own, task)
            add_sums(self._sums, untempered, labels, task)
        inside = self._take_unsure(unsure, labels)
        rows = slice(first, first + len(labels))
        if "probabilities" in self.maps:
            self.maps["probabilities"][:, rows] = probabilities[self._channels]
        if "uncertainty" in self.maps:
            self.maps["uncertainty"][0, rows] = unsure
        if "disagreement" in self.maps:
            self.maps["disagreement"][0, rows] = logits[outputs]
            self._unsure[1] += _sum_where(logits[outputs], inside)


def _of_nothing(said: PredictedDice) -> PredictedDice:
    """What is to be expected of a mask of an image that shows nothing: 0, or what was said."""
    most = said.interval[1] if said.interval else said.dice
    return PredictedDice(0.0, said.dice, (0.0, most) if said.interval else None, 0.0)


def strangeness_of(heard: Sequence[Heard], card: ModelCard) -> float:
    """Of what the networks saw of an image, in multiples of the usual; NaN if it is not known."""
    statistics = card.quality.features if card.quality else None
    if statistics is None:
        return math.nan
    features = [each.features for each in heard if each.network == statistics.network]
    return statistics.strangeness(np.concatenate(features)) if features else math.nan


def _doubts(
    predicted: Mapping[str, PredictedDice], strangeness: float, card: ModelCard
) -> Iterator[str]:
    statistics = card.quality.features if card.quality else None
    if statistics is not None and strangeness > statistics.largest:
        yield Sentence(
            f"what the network sees lies {strangeness:.1f} times as far from the images of the "
            f"training as usual, held-back ones lay {statistics.largest / ALLOWANCE:.1f} times as "
            "far at most: an image unlike those of the training",
            "strange_image",
            here=strangeness,
            held_back=statistics.largest / ALLOWANCE,
        )
    for name, each in predicted.items():
        if each.left < LITTLE:
            yield Sentence(
                f"the network is so unsure of {name} that a Dice of {each.dice:.2f} is expected, "
                "less than half of the usual: a poor image, or one without it?",
                "unsure_class",
                name=name,
                dice=each.dice,
            )


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
        _add_overlaps(sums, probabilities.max(axis=0), labels)


def _add_overlaps(
    sums: Float[np.ndarray, "3 k"],
    likeliest: Float32[np.ndarray, "*rows"],
    labels: UInt8[np.ndarray, "*rows"],
) -> None:
    for index in range(sums.shape[1]):
        inside = labels == index
        if count := np.count_nonzero(inside):
            sums[0, index] += _sum_where(likeliest, inside)
            sums[2, index] += count


def _sum_where(x: Float32[np.ndarray, "*rows"], inside: Bool[np.ndarray, "*rows"]) -> float:
    """A scalar product, which is many times as fast as picking the voxels out."""
    return float(np.dot(x.reshape(-1), inside.reshape(-1).astype(np.float32)))


def _blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    rows = max(1, BLOCK // max(1, prod(shape[1:])))
    for start in range(0, shape[0], rows):
        yield slice(start, min(start + rows, shape[0]))
