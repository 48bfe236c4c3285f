"""Which images are worth a person's time: those that a model does badly, and no two alike.

Letters: ``f`` numbers that describe an image, ``k`` channels of probabilities.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Float64, Int

from seg.images import Image
from seg.metrics.predicted_dice import expected_dice

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
LOOKED_AT = 100_000
"""Voxels of a channel that are described."""
PART = 1 << 20
"""Voxels whose probabilities are looked at together."""
UNFAMILIAR = 0.2
"""Dice that an image unlike the training counts worse."""
UNKNOWN_DICE = 0.5
"""Where nothing is predicted in an image."""
SECONDS_AN_IMAGE = 15.0
"""To open it and to look at it."""
SECONDS_AN_OBJECT = 5.0
"""For each that is predicted to be wrong."""
CHOSEN_BY_ALL = 500
"""Images that are chosen by a look at all others each; those after them keep the order that they
have then, since nobody comes to them before the next model."""
COMPARED = 500
"""Images whose distances from each other tell the usual one."""


@dataclass(frozen=True, kw_only=True)
class ImageLook:
    """What a model makes of an image that nobody annotated."""

    predicted_dice: float | None
    """Mean of its classes; None where the package has seen too few cases to predict one."""
    soft_dice: float | None = None
    """As ``soft_dice_of`` gives it, which counts then."""
    warnings: int = 0
    """Ways in which the image is unlike those that the model knows."""
    objects: int | None = None
    described: Float64[np.ndarray, " f"]
    """As ``described`` gives it."""

    @property
    def need(self) -> float:
        """How much a correction is needed, in Dice."""
        known = (dice for dice in (self.predicted_dice, self.soft_dice) if dice is not None)
        dice = next(known, UNKNOWN_DICE)
        return float(min(1.0, 1 - dice + (UNFAMILIAR if self.warnings else 0)))

    @property
    def seconds(self) -> float:
        """That a person will need for it."""
        objects = 1 if self.objects is None else self.objects
        return SECONDS_AN_IMAGE + SECONDS_AN_OBJECT * self.need * objects


@dataclass(frozen=True, kw_only=True)
class RankedImage:
    """An image and why it comes where it does."""

    name: str
    need: float
    unlike: float
    """Its distance from the nearest that is annotated or comes before it; 1 is the usual one."""
    seconds: float
    look: ImageLook

    @property
    def row(self) -> dict[str, int | float | None]:
        """What a person is told of it."""
        return {
            "predicted_dice": self.look.predicted_dice,
            "warnings": self.look.warnings,
            "objects": self.look.objects,
            "unlike": round(self.unlike, 3),
            "minutes": round(self.seconds / 60, 2),
        }


def described(image: Image, probabilities: Any | None = None) -> Float64[np.ndarray, " f"]:
    """Numbers by which images are told apart: of intensities, and of what a model sees in them.

    Args:
        image: in the intensities of its file.
        probabilities: ``(k, *spatial)``, where a model was asked.
    """
    numbers: list[float] = []
    for channel in image.array:
        step = max(1, channel.size // LOOKED_AT)
        values = channel.reshape(-1)[::step].astype(np.float64)
        values = values[np.isfinite(values)]
        numbers += list(np.quantile(values, QUANTILES)) if values.size else [0.0] * len(QUANTILES)
        numbers.append(float(values.std()) if values.size else 0.0)
    if probabilities is not None:
        sums, unsure = np.zeros(len(probabilities)), 0
        for shares in _parts(probabilities):
            sums += shares.sum(axis=1, dtype=np.float64)
            unsure += int(np.count_nonzero(shares.max(axis=0) < 0.9))
        voxels = np.prod(probabilities.shape[1:])
        numbers += [*(sums / voxels), unsure / voxels]
    return np.array(numbers, np.float64)


def soft_dice_of(probabilities: Float[np.ndarray, "k *spatial"]) -> float | None:
    """Mean Dice of the classes that are found in an image, were the probabilities right.

    Says which images a network is unsure of before it has seen cases enough to predict a Dice.

    Args:
        probabilities: of each class, background first.
    """
    k = len(probabilities)
    overlap, sums, predicted = np.zeros((3, k))
    for shares in _parts(probabilities):
        labels = shares.argmax(axis=0)
        predicted += np.bincount(labels, minlength=k)
        overlap += np.bincount(labels, shares.max(axis=0), minlength=k)
        sums += shares.sum(axis=1, dtype=np.float64)
    dice = expected_dice(overlap, sums, predicted)[1:]
    return float(np.nanmean(dice)) if np.isfinite(dice).any() else None


def _parts(probabilities: Any) -> Iterator[Float32[np.ndarray, "k n"]]:
    """Of all voxels, some at a time: those of a large image as float32 would be a gigabyte."""
    flat = np.asarray(probabilities).reshape(len(probabilities), -1)
    for start in range(0, flat.shape[1], PART):
        yield flat[:, start : start + PART].astype(np.float32)


def ranked(
    looks: Mapping[str, ImageLook],
    annotated: Sequence[Float64[np.ndarray, " f"]] = (),
    seconds: float | None = None,
) -> list[RankedImage]:
    """The images one after the other: each the one that is needed most and unlike those before it.

    A greedy choice: need times the distance from the nearest that is annotated or chosen already.

    Args:
        looks: by the image's name.
        annotated: descriptions of the images that are annotated.
        seconds: of a person; images are listed until they are spent, one at least.

    Source: Sener and Savarese, Active learning for convolutional neural networks: a core-set
    approach (2018), for the distance.
    """
    names = sorted(looks)
    if not names:
        return []
    every = [looks[name].described for name in names]
    place = _on_one_scale(np.array([*every, *annotated]))
    usual = _usual_distance(place)
    own = place[: len(names)]
    unlike = np.ones(len(names))
    for known in place[len(names) :]:
        unlike = np.minimum(unlike, _distances(own, known) / usual)
    need = np.array([looks[name].need for name in names])
    order: list[RankedImage] = []
    spent = 0.0
    for at, apart in _one_by_one(need, unlike, own / usual):
        look = looks[names[at]]
        spent += look.seconds
        if order and seconds is not None and spent > seconds:
            break
        order.append(
            RankedImage(
                name=names[at], need=look.need, unlike=apart, seconds=look.seconds, look=look
            )
        )
    return order


def _one_by_one(
    need: Float64[np.ndarray, " n"],
    unlike: Float64[np.ndarray, " n"],
    place: Float64[np.ndarray, "n f"],
) -> Iterator[tuple[int, float]]:
    """Images and how far each lies from those before it, the one that is worth most first."""
    left = np.arange(len(need))
    for _ in range(min(CHOSEN_BY_ALL, len(need))):
        best = _by_worth(need, unlike, left)[0]
        yield int(best), float(unlike[best])
        left = left[left != best]
        unlike = np.minimum(unlike, _distances(place, place[best]))
    for at in _by_worth(need, unlike, left):
        yield int(at), float(unlike[at])


def _by_worth(
    need: Float64[np.ndarray, " n"], unlike: Float64[np.ndarray, " n"], some: Int[np.ndarray, " m"]
) -> Int[np.ndarray, " m"]:
    return some[np.lexsort((-need[some], -(need * unlike)[some]))]


def _distances(
    many: Float64[np.ndarray, "n f"], one: Float64[np.ndarray, " f"]
) -> Float64[np.ndarray, " n"]:
    return np.asarray(np.linalg.norm(many - one, axis=1))


def _on_one_scale(numbers: Float64[np.ndarray, "n f"]) -> Float64[np.ndarray, "n f"]:
    spread = numbers.std(axis=0)
    return np.asarray((numbers - numbers.mean(axis=0)) / np.where(spread > 0, spread, 1))


def _usual_distance(place: Float64[np.ndarray, "n f"]) -> float:
    """Median of the distances of all pairs; of many images, of some that are spread over them."""
    if len(place) < 2:
        return 1.0
    place = place[:: -(-len(place) // COMPARED)]
    apart = np.linalg.norm(place[:, None] - place[None], axis=2)
    return float(np.median(apart[np.triu_indices(len(place), 1)])) or 1.0
