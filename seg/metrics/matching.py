"""How well objects were told apart. Letters: ``n`` predicted objects, ``m`` reference objects."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Int64, Integer

IOU_THRESHOLDS = (0.5, 0.75, 0.9)
"""Intersection over union above which a predicted object is taken for a reference object."""


@dataclass(frozen=True, eq=False, slots=True)
class Overlaps:
    """All pairs of a predicted and a reference object that share voxels."""

    predicted: Int64[np.ndarray, " pairs"]
    """Position of the predicted object, from 0."""
    reference: Int64[np.ndarray, " pairs"]
    shared: Int64[np.ndarray, " pairs"]
    """Voxels of both."""
    predicted_sizes: Int64[np.ndarray, " n"]
    reference_sizes: Int64[np.ndarray, " m"]
    predicted_labels: Int64[np.ndarray, " n"]
    """As they stand in the label image, rising."""
    reference_labels: Int64[np.ndarray, " m"]

    @property
    def iou(self) -> Float64[np.ndarray, " pairs"]:
        """Intersection over union of each pair."""
        union = self.predicted_sizes[self.predicted] + self.reference_sizes[self.reference]
        return np.asarray(self.shared / (union - self.shared), np.float64)

    def without_small(self, smallest: int) -> "Overlaps":
        """As if predicted objects of fewer voxels had not been found."""
        kept = self.predicted_sizes >= smallest
        place = np.cumsum(kept) - 1
        pairs = kept[self.predicted]
        return Overlaps(
            place[self.predicted[pairs]],
            self.reference[pairs],
            self.shared[pairs],
            self.predicted_sizes[kept],
            self.reference_sizes,
            self.predicted_labels[kept],
            self.reference_labels,
        )


@dataclass(frozen=True, slots=True)
class ObjectCounts:
    """What the objects of a case, or of several, add up to."""

    reference: int = 0
    predicted: int = 0
    hits: tuple[int, ...] = (0,) * len(IOU_THRESHOLDS)
    """Pairs above each of ``IOU_THRESHOLDS``; a pair above one half is the only one of both."""
    iou: float = 0.0
    """Sum of the intersections over union of the hits above one half."""
    seg: float = 0.0
    """The same of the reference objects more than half of which one predicted object covers."""
    merged: int = 0
    """Reference objects that lie, for more than half, in a predicted object with another one."""
    split: int = 0
    """Reference objects that hold two predicted objects or more, for more than half of these."""

    def __add__(self, other: "ObjectCounts") -> "ObjectCounts":
        return ObjectCounts(
            self.reference + other.reference,
            self.predicted + other.predicted,
            tuple(a + b for a, b in zip(self.hits, other.hits, strict=True)),
            self.iou + other.iou,
            self.seg + other.seg,
            self.merged + other.merged,
            self.split + other.split,
        )

    def scores(self) -> Mapping[str, float]:
        """By name; NaN where there is nothing to score.

        ``ap_50``, ``ap_75``, ``ap_90``: hits of all objects, predicted or missed; ``f1``; ``pq``,
        panoptic quality; ``seg``; ``count_error``, predicted less reference, of the reference.

        Source: Caicedo et al., Nature Methods 16 (2019), for average precision; Kirillov et al.,
        Panoptic segmentation, CVPR 2019; Maška et al., Nature Methods 20 (2023), for SEG.
        """
        hit, both = self.hits[0], self.predicted + self.reference
        return {
            **{
                f"ap_{round(100 * threshold)}": _ratio(hits, both - hits)
                for threshold, hits in zip(IOU_THRESHOLDS, self.hits, strict=True)
            },
            "f1": _ratio(2 * hit, both),
            "pq": _ratio(2 * self.iou, both),
            "seg": _ratio(self.seg, self.reference),
            "count_error": _ratio(self.predicted - self.reference, self.reference),
        }


def overlaps(
    prediction: Integer[np.ndarray, "*spatial"], reference: Integer[np.ndarray, "*spatial"]
) -> Overlaps:
    """Pairs of objects of two label images; 0 is none."""
    ours, a, sizes_a = _numbered(prediction)
    theirs, b, sizes_b = _numbered(reference)
    inside = (a > 0) & (b > 0)
    pairs, shared = np.unique(a[inside] * (len(theirs) + 1) + b[inside], return_counts=True)
    first, second = np.divmod(pairs, len(theirs) + 1)
    return Overlaps(first - 1, second - 1, shared, sizes_a, sizes_b, ours, theirs)


def is_hit(pairs: Overlaps) -> Bool[np.ndarray, " n"]:
    """Whether a predicted object is a reference object, for more than half of their union."""
    hit: Bool[np.ndarray, " n"] = np.zeros(len(pairs.predicted_sizes), bool)
    hit[pairs.predicted[pairs.iou > IOU_THRESHOLDS[0]]] = True
    return hit


def count_objects(pairs: Overlaps) -> ObjectCounts:
    """What a case's objects add up to."""
    iou = pairs.iou
    mostly_covered = 2 * pairs.shared > pairs.reference_sizes[pairs.reference]
    covers = np.bincount(pairs.predicted[mostly_covered], minlength=len(pairs.predicted_sizes))
    mostly_within = 2 * pairs.shared > pairs.predicted_sizes[pairs.predicted]
    holds = np.bincount(pairs.reference[mostly_within], minlength=len(pairs.reference_sizes))
    return ObjectCounts(
        reference=len(pairs.reference_sizes),
        predicted=len(pairs.predicted_sizes),
        hits=tuple(int((iou > threshold).sum()) for threshold in IOU_THRESHOLDS),
        iou=float(iou[iou > IOU_THRESHOLDS[0]].sum()),
        seg=float(iou[mostly_covered].sum()),
        merged=int(covers[covers > 1].sum()),
        split=int((holds > 1).sum()),
    )


Fate = Literal["matched", "missed", "merged", "split", "invented"]
"""What became of an object; of a reference object that is several, the last that holds."""


def fates_of(pairs: Overlaps) -> tuple[dict[int, Fate], dict[int, Fate]]:
    """What became of each predicted and of each reference object, by its number.

    ``merged`` and ``split`` as ``ObjectCounts`` has them, of the reference; a predicted object is
    ``matched`` or ``invented``, ``merged`` where it covers several, ``split`` where it is a part.
    """
    ours: list[Fate] = ["invented"] * len(pairs.predicted_sizes)
    theirs: list[Fate] = ["missed"] * len(pairs.reference_sizes)
    mostly_covered = 2 * pairs.shared > pairs.reference_sizes[pairs.reference]
    mostly_within = 2 * pairs.shared > pairs.predicted_sizes[pairs.predicted]
    covers = np.bincount(pairs.predicted[mostly_covered], minlength=len(ours))
    holds = np.bincount(pairs.reference[mostly_within], minlength=len(theirs))
    hits = pairs.iou > IOU_THRESHOLDS[0]
    for a, b in zip(pairs.predicted[hits], pairs.reference[hits], strict=True):
        ours[a] = theirs[b] = "matched"
    for a, b in zip(pairs.predicted[mostly_covered], pairs.reference[mostly_covered], strict=True):
        if covers[a] > 1:
            ours[a] = theirs[b] = "merged"
    for a, b in zip(pairs.predicted[mostly_within], pairs.reference[mostly_within], strict=True):
        if holds[b] > 1:
            ours[a] = theirs[b] = "split"
    return (
        dict(zip(pairs.predicted_labels.tolist(), ours, strict=True)),
        dict(zip(pairs.reference_labels.tolist(), theirs, strict=True)),
    )


def _numbered(
    labels: Integer[np.ndarray, "*spatial"],
) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " voxels"], Int64[np.ndarray, " n"]]:
    """The labels that occur, each voxel's position among them from 1 on, and their sizes."""
    found, numbers, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    numbers = numbers.reshape(-1).astype(np.int64)
    if len(found) and found[0] == 0:
        return found[1:].astype(np.int64), numbers, sizes[1:].astype(np.int64)
    return found.astype(np.int64), numbers + 1, sizes.astype(np.int64)


def _ratio(part: int | float, whole: int | float) -> float:
    return part / whole if whole else float("nan")
