"""How a model's objects are found, chosen on cases that the network was not trained on.

For each way of telling objects apart and each class: from which height on a voxel is a seed's, and
how small seeds and objects may be; what finds most of the objects wins. Then, with what won: how
probable an object is, and how far counts lie from the truth.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int32, Int64, UInt8, UInt32
from scipy.optimize import isotonic_regression
from tqdm import tqdm

from seg.images import ClassInfo
from seg.inference import Predictor
from seg.metrics import ObjectCounts, count_objects, is_hit, overlaps
from seg.model_package import (
    CountCalibration,
    Encoding,
    Instances,
    ModelCard,
    ObjectRule,
    ScoreCalibration,
)
from seg.objects import SeedRule, flooded, heights_of, mean_certainty
from seg.objects.counting import PRIOR_IMAGES
from training.dataset import IGNORE, Case, Dataset

MOST_CASES = 8
"""All of them are in memory, in some bytes a voxel."""
HEIGHTS = (0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.93)
SEED_SHARES = (0.0, 0.01, 0.03, 0.08, 0.15)
OBJECT_SHARES = (0.0, 0.02, 0.05, 0.1, 0.18, 0.28, 0.4)
"""Of the median size: below that, seeds and objects are none."""
FEWEST_OBJECTS = 20
"""For a calibration."""
PRIOR_SPREAD = 0.04
"""How far counts are off from image to image, before any image is looked at: of six frames of hela
whose labels are another program's, two showed 4.5 % too few objects and four 1 %."""
TILES = 4
"""Along each of the two last axes, within which counts are compared."""


@dataclass(frozen=True, eq=False)
class TuningCase:
    """What a network says of a case, and what is true."""

    classes: UInt8[np.ndarray, "*spatial"]
    heights: Mapping[Encoding, UInt8[np.ndarray, "*spatial"]]
    sure: UInt8[np.ndarray, "*spatial"]
    reference: Int32[np.ndarray, "*spatial"]
    """Numbers of the true objects."""
    labels: UInt8[np.ndarray, "*spatial"]
    """True classes."""

    def found(self, encoding: Encoding, info: ClassInfo, rule: SeedRule) -> np.ndarray:
        """Label image of one class."""
        labels = flooded(self.classes, self.heights[encoding], {info.index: rule}).labels
        return np.where(self.labels == IGNORE, 0, labels)

    def truth(self, info: ClassInfo) -> Int32[np.ndarray, "*spatial"]:
        """Numbers of the true objects of one class."""
        return np.where(self.labels == info.index, self.reference, np.int32(0))


class _Meter:
    """Keeps the heights of every encoding, as ``seg.objects.ObjectsMeter`` those of one."""

    def __init__(self, card: ModelCard, shape: tuple[int, ...]) -> None:
        self._cards = {name: _by(card, name) for name in _encodings(card)}
        self.heights = {name: np.zeros(shape, np.uint8) for name in self._cards}
        self.sure = np.zeros(shape, np.uint8)

    def take(
        self, start: int, logits: Float[np.ndarray, "k *slab"], labels: UInt8[np.ndarray, "*slab"]
    ) -> None:
        """Take the next rows."""
        rows = slice(start, start + len(labels))
        for name, card in self._cards.items():
            self.heights[name][rows], self.sure[rows] = heights_of(logits, labels, card)


def tune_objects(
    predictor: Predictor, dataset: Dataset, cases: Sequence[Case], halo: int, fitted_on: str
) -> Instances:
    """The best way to find objects.

    Args:
        predictor: of a package with channels for objects, whose rules don't matter yet.
        dataset: of the cases.
        cases: with objects; of many, some.
        halo: in voxels of the network's grid.
        fitted_on: what the cases are, in words.

    Raises:
        DatasetError: a case cannot be read.
    """
    card = predictor.package.card
    count = min(MOST_CASES, len(cases))
    chosen = [cases[number * len(cases) // count] for number in range(count)]
    read = [
        _tuning_case(predictor, dataset, case)
        for case in tqdm(chosen, desc="telling objects apart", unit="case", disable=None)
    ]
    best: dict[Encoding, dict[str, tuple[float, ObjectRule]]] = {
        name: {info.name: _best_rule(read, name, info) for info in card.classes[1:]}
        for name in _encodings(card)
    }

    def mean(name: Encoding) -> float:
        return float(np.mean([score for score, _ in best[name].values()]))

    encoding = max(best, key=mean)
    rules = {
        info.name: _calibrated(read, encoding, info, best[encoding][info.name][1])
        for info in card.classes[1:]
    }
    assert card.instances is not None
    said = ", ".join(f"{name} {mean(name):.3f}" for name in best)
    return card.instances.model_copy(
        update={
            "encoding": encoding,
            "rules": rules,
            "halo": halo,
            "fitted_on": f"{count} {fitted_on}; average precision at one half: {said}",
        }
    )


def _encodings(card: ModelCard) -> tuple[Encoding, ...]:
    assert card.instances is not None
    return (*card.instances.channels_for, "components")


def _by(card: ModelCard, encoding: Encoding) -> ModelCard:
    assert card.instances is not None
    changed = card.instances.model_copy(update={"encoding": encoding})
    return card.model_copy(update={"instances": changed})


def _tuning_case(predictor: Predictor, dataset: Dataset, case: Case) -> TuningCase:
    image, mask = dataset.read(case)
    turn = predictor.turn_of(image)
    labels = np.ascontiguousarray(turn.there(mask.array))
    meter = _Meter(predictor.package.card, labels.shape)
    return TuningCase(
        classes=predictor.labels_observed(image, meter),
        heights=meter.heights,
        sure=meter.sure,
        reference=np.ascontiguousarray(turn.there(dataset.read_objects(case, image, mask))),
        labels=labels,
    )


def _best_rule(
    cases: Sequence[TuningCase], encoding: Encoding, info: ClassInfo
) -> tuple[float, ObjectRule]:
    """The best rule of a class, and the average precision that it reaches."""
    sizes = np.concatenate([np.unique(c.truth(info), return_counts=True)[1][1:] for c in cases])
    usual = float(np.median(sizes)) if len(sizes) else 1.0
    heights = (0.5,) if encoding == "components" else HEIGHTS
    tried: list[tuple[tuple[float, float], ObjectRule]] = []
    for height in heights:
        tried.append(_with_smallest(cases, encoding, info, ObjectRule(seed=height), usual))
    _, best = max(tried, key=lambda each: each[0])
    if encoding != "components":
        for share in SEED_SHARES[1:]:
            rule = best.model_copy(update={"smallest_seed": max(1, round(share * usual))})
            tried.append(_with_smallest(cases, encoding, info, rule, usual))
    scores, rule = max(tried, key=lambda each: each[0])
    return scores[0], rule


def _with_smallest(
    cases: Sequence[TuningCase],
    encoding: Encoding,
    info: ClassInfo,
    rule: ObjectRule,
    usual: float,
) -> tuple[tuple[float, float], ObjectRule]:
    """The rule with the best smallest object, and its average precision at .5, then at .75."""
    seeds = seed_rule(rule.model_copy(update={"smallest": 1}))
    pairs = [overlaps(case.found(encoding, info, seeds), case.truth(info)) for case in cases]
    results = []
    for share in OBJECT_SHARES:
        smallest = max(1, round(share * usual))
        total = sum((count_objects(each.without_small(smallest)) for each in pairs), ObjectCounts())
        scores = total.scores()
        pair = (_known(scores["ap_50"]), _known(scores["ap_75"]))
        results.append((pair, rule.model_copy(update={"smallest": smallest})))
    return max(results, key=lambda each: each[0])


def seed_rule(rule: ObjectRule) -> SeedRule:
    """In voxels of the image, where image and network share their grid."""
    return SeedRule(max(1, round(255 * rule.seed)), rule.smallest_seed, rule.smallest)


def _known(score: float) -> float:
    return score if np.isfinite(score) else 0.0


def _calibrated(
    cases: Sequence[TuningCase], encoding: Encoding, info: ClassInfo, rule: ObjectRule
) -> ObjectRule:
    scores, hits, counts = [], [], []
    for case in cases:
        labels = case.found(encoding, info, seed_rule(rule))
        pairs = overlaps(labels, case.truth(info))
        certainty = mean_certainty(labels, case.sure, int(labels.max()))
        scores.append(certainty[pairs.predicted_labels - 1])
        hits.append(is_hit(pairs))
        counts.append(_tile_counts(labels, case.truth(info)))
    return rule.model_copy(
        update={
            "probability": fit_scores(np.concatenate(scores), np.concatenate(hits)),
            "count": fit_counts(counts),
        }
    )


def fit_scores(scores: Float[np.ndarray, " n"], hits: np.ndarray) -> ScoreCalibration | None:
    """The rising function that fits best; None where objects are few.

    Source: Zadrozny & Elkan, Transforming classifier scores into accurate multiclass probability
    estimates, KDD 2002.
    """
    if len(scores) < FEWEST_OBJECTS:
        return None
    order = np.argsort(scores, kind="stable")
    fitted = isotonic_regression(hits[order].astype(float))
    knots: list[tuple[float, float]] = []
    for start, stop in zip(fitted.blocks[:-1], fitted.blocks[1:], strict=True):
        inside = order[start:stop]
        # one hit and one miss more, so that few objects are never sure of anything
        knots.append(
            (float(scores[inside].mean()), float((hits[inside].sum() + 1) / (len(inside) + 2)))
        )
    said = np.maximum.accumulate([probability for _, probability in knots])
    return ScoreCalibration(
        scores=tuple(score for score, _ in knots),
        probabilities=tuple(float(each) for each in said),
        objects=len(scores),
    )


TileCounts = Int64[np.ndarray, "2 tiles"]
"""Found and true objects of each tile of an image."""


def fit_counts(counts: Sequence[TileCounts]) -> CountCalibration | None:
    """What counts say of the truth; None where nothing was found or nothing is there."""
    found, true = np.concatenate(counts, axis=1).astype(float)
    if not found.sum() or not true.sum() or true.sum() < FEWEST_OBJECTS:
        return None
    of_images = np.array([each.sum(axis=1) for each in counts], float)
    # as if one image more had shown that what is found is what is there
    ratio = (true.sum() + of_images[:, 0].mean()) / (found.sum() + of_images[:, 0].mean())
    expected = np.maximum(ratio * found, 0.5)
    dispersion = float(((true - ratio * found) ** 2).sum() / expected.sum())
    expected = np.maximum(ratio * of_images[:, 0], 0.5)
    surplus = ((of_images[:, 1] - expected) ** 2 - dispersion * expected) / expected**2
    variance = (surplus.sum() + PRIOR_IMAGES * PRIOR_SPREAD**2) / (len(counts) + PRIOR_IMAGES)
    return CountCalibration(
        ratio=float(ratio),
        dispersion=dispersion,
        spread=float(np.sqrt(max(PRIOR_SPREAD**2 / 4, variance))),
        images=len(counts),
    )


def _tile_counts(
    found: UInt32[np.ndarray, "*spatial"] | Int32[np.ndarray, "*spatial"],
    true: Int32[np.ndarray, "*spatial"],
) -> TileCounts:
    return np.stack([_in_tiles(found), _in_tiles(true)])


def _in_tiles(labels: np.ndarray) -> Int64[np.ndarray, " tiles"]:
    """Objects by the tile in which their centre lies."""
    flat = np.flatnonzero(labels)
    numbers = labels.reshape(-1)[flat]
    sizes = np.bincount(numbers)
    there = np.flatnonzero(sizes)
    tile = np.zeros(len(there), np.int64)
    places = np.unravel_index(flat, labels.shape)
    for axis in (-2, -1):
        centre = np.bincount(numbers, weights=places[axis])[there] / sizes[there]
        row = np.minimum((centre * TILES / labels.shape[axis]).astype(int), TILES - 1)
        tile = tile * TILES + row
    return np.bincount(tile, minlength=TILES**2)
