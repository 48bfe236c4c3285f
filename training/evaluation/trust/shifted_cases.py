"""What a network says of images that are unlike those of its training, and what is true.

Letters: ``k`` channels of logits, ``f`` features.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Float32, UInt8
from tqdm import tqdm

from seg.images import Image, Mask
from seg.images.grid.orientation import turned_image, turned_mask
from seg.inference import Predictor, WindowCounts
from seg.inference.labels.decision import probabilities_of
from seg.inference.tiling.blending import Slab
from seg.inference.trust.quality import add_sums
from seg.metrics import Spread, dice, expected_dice, spread_of
from seg.model_package import ModelCard
from training.dataset import Case, Dataset
from training.dataset.legend import IGNORE
from training.evaluation.measure import predicted_regions
from training.evaluation.regions import regions
from training.evaluation.trust.degradations import degradations_of, degraded

_T = TypeVar("_T")

CLEAN = "as it is"
PIECES = {2: 12, 3: 4}
"""Of held-back images, which are degraded, by number of dimensions; some seconds' work."""
SEED = 0


@dataclass(frozen=True, eq=False)
class ShiftedCase:
    """A piece of a held-back image, degraded."""

    way: str
    """``CLEAN``, or a name of ``DEGRADATIONS``."""
    expected: Mapping[str, float]
    """Expected Dice by class, NaN where the class is not in the mask."""
    spread: Mapping[str, Spread]
    """Of the probability of each class."""
    dice: Mapping[str, float]
    """What was reached, NaN where the class is nowhere."""
    voxels: int
    network: str
    features: Float32[np.ndarray, "b f"]
    """Of its windows; none where the network tells none."""


def shifted_cases(
    predictor: Predictor, dataset: Dataset, cases: Sequence[Case], *, progress: bool = True
) -> list[ShiftedCase]:
    """Pieces of the cases, as they are and degraded in every way.

    Args:
        predictor: of a package with the dataset's classes.
        dataset: whose files are read.
        cases: that the network was not trained on.
        progress: show a bar where there is a terminal.
    """
    card = predictor.package.card
    count = PIECES[card.input.dims] * (
        1 + len(degradations_of(card.input.dims, len(card.input.channels)))
    )
    pieces = tqdm(
        degraded_pieces(predictor, dataset, cases), total=count, desc="degrading", unit="piece",
        disable=None if progress else True,
    )  # fmt: skip
    return [_seen(predictor, dataset, piece) for piece in pieces]


@dataclass(frozen=True, eq=False)
class DegradedPiece:
    """A piece of an image, in the model's orientation, and its labels."""

    way: str
    image: Image
    reference: Mask


def degraded_pieces(
    predictor: Predictor, dataset: Dataset, cases: Sequence[Case], seed: int = SEED
) -> Iterator[DegradedPiece]:
    """Each piece as it is, and in every way, with strengths that go from little to much.

    Args:
        predictor: as of ``shifted_cases``.
        dataset: whose files are read.
        cases: of which pieces are taken, as many as ``PIECES`` says.
        seed: of places and strengths.
    """
    card = predictor.package.card
    rng = np.random.default_rng(seed)
    count = PIECES[card.input.dims]
    ways = degradations_of(card.input.dims, len(card.input.channels))
    for number in range(count):
        stored, drawn = dataset.read(cases[number * len(cases) // count])
        turn = predictor.turn_of(stored)
        image, mask = _piece(turned_image(stored, turn), turned_mask(drawn, turn), card, rng)
        for place, way in enumerate((CLEAN, *ways)):
            strength = ((number + place) % count + rng.random()) / count
            array, labels = image.array, mask.array.astype(np.uint8)
            if way != CLEAN:
                array, labels = degraded(way, array, labels, strength, rng)
            changed = Image(array, spacing=image.spacing)
            yield DegradedPiece(way, changed, Mask.on_grid_of(changed, labels))


def _seen(predictor: Predictor, dataset: Dataset, piece: DegradedPiece) -> ShiftedCase:
    sums, counts = _ShiftSums(predictor.package.card), WindowCounts()
    predicted = predictor.predict(piece.image, observe=sums, counts=counts)
    network = counts.heard[0].network if counts.heard else ""
    features = [each.features for each in counts.heard if each.network == network]
    return ShiftedCase(
        way=piece.way,
        expected=sums.by_class(list(expected_dice(*sums.sums))),
        spread=sums.by_class(spread_of(*sums.sums)),
        dice=dice_of_classes(predicted, piece.reference, dataset),
        voxels=piece.reference.array.size,
        network=network,
        features=np.concatenate(features) if features else np.zeros((0, 0), np.float32),
    )


def dice_of_classes(predicted: Mask, reference: Mask, dataset: Dataset) -> dict[str, float]:
    """Of each class or region, NaN where it is nowhere."""
    every = regions(dataset.legend)
    inside = predicted_regions(predicted, reference, every)
    labels = reference.array.astype(np.uint8)
    return {name: dice(part, every[name].referred(labels)) for name, part in inside.items()}


class _ShiftSums:
    """Sees the slabs of a piece."""

    def __init__(self, card: ModelCard) -> None:
        self._card = card
        self.sums = np.zeros((3, card.outputs))
        """Those that ``expected_dice`` takes."""

    def __call__(self, slab: Slab, labels: UInt8[np.ndarray, "*slab"]) -> None:
        task = self._card.task
        add_sums(self.sums, probabilities_of(slab.logits, task), labels, task)

    def by_class(self, of_channels: Sequence[_T]) -> dict[str, _T]:
        """Of the foreground's classes."""
        classes = self._card.classes[len(self._card.classes) - self._card.outputs :]
        pairs = zip(classes, of_channels, strict=True)
        return {info.name: each for info, each in pairs if info.index > 0}


def _piece(
    image: Image, mask: Mask, card: ModelCard, rng: np.random.Generator
) -> tuple[Image, Mask]:
    """As much as one patch shows, around a voxel of a class where there is one.

    Of a volume as much as one window shows: several take too long.
    """
    scale: tuple[float, ...] = (1.0,) * image.dims
    if card.input.preprocessing.spacing and image.spacing:
        pairs = zip(card.input.preprocessing.spacing, image.spacing, strict=True)
        scale = tuple((wanted or mm) / mm for wanted, mm in pairs)
    margin = (0,) * image.dims
    if image.dims == 3:
        margin = card.input.preprocessing.margin or margin
    size = [
        min(n, max(1, round((p - 2 * m) * s)))
        for n, p, m, s in zip(image.spatial_shape, card.input.patch, margin, scale, strict=True)
    ]
    places = np.flatnonzero((mask.array > 0) & (mask.array != IGNORE))
    centre: tuple[int, ...] = tuple(n // 2 for n in image.spatial_shape)
    if len(places):
        drawn = np.unravel_index(int(rng.choice(places)), image.spatial_shape)
        centre = tuple(int(each) for each in drawn)
    at = []
    for middle, part, n in zip(centre, size, image.spatial_shape, strict=True):
        start = int(np.clip(int(middle) - part // 2, 0, n - part))
        at.append(slice(start, start + part))
    piece = Image(np.ascontiguousarray(image.array[:, *at]), spacing=image.spacing)
    return piece, Mask.on_grid_of(piece, np.ascontiguousarray(mask.array[tuple(at)]))
