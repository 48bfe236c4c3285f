"""Counts of how often the model's probabilities come true, taken from the pass that segments.

Letters: ``k`` channels of logits.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8

from seg.images import Mask
from seg.inference.labels.decision import probabilities_of
from seg.inference.tiling.blending import Slab
from seg.metrics import reliability
from seg.model_package import ModelCard
from training.dataset import IGNORE
from training.evaluation.regions import Region

MARGIN = 0.25
"""By which the box around a region is widened on every side, as a share of its edge."""

Counts = Float64[np.ndarray, "3 bins"]
Box = tuple[slice, ...]


class CalibrationMeter:
    """Sees the slabs of one image and compares them with its reference.

    A region is judged within a box around its reference, since the far background, which every
    model knows, would drown the rest. Voxels that nobody annotated do not count.
    """

    def __init__(self, card: ModelCard, regions: Mapping[str, Region], reference: Mask) -> None:
        self._task = card.task
        self._temperature = np.float32(card.quality.temperature if card.quality else 1.0)
        self._reference = reference.array
        self._regions = regions
        self._boxes = {
            name: widened_box(inside)
            for name, region in regions.items()
            if (inside := region.referred(reference.array)).any()
        }
        self.regions: dict[str, Counts] = {}
        """By name, of those that the reference has."""
        self.winner: Counts | None = None
        """Of the winning class over all voxels; None where classes overlap."""

    def __call__(self, slab: Slab, labels: UInt8[np.ndarray, "*slab"]) -> None:
        """Take the next rows."""
        probabilities = probabilities_of(slab.logits / self._temperature, self._task)
        reference = self._reference[slab.start : slab.stop]
        annotated = reference != IGNORE
        if self._task == "exclusive":
            winner = reliability(
                probabilities.max(axis=0)[annotated], (labels == reference)[annotated]
            )
            self.winner = winner if self.winner is None else self.winner + winner
        for name, (rows, *others) in self._boxes.items():
            start, stop = max(rows.start, slab.start), min(rows.stop, slab.stop)
            if start >= stop:
                continue
            box = (slice(start - slab.start, stop - slab.start), *others)
            counted = annotated[box]
            region = self._regions[name]
            counts = reliability(
                self._probability(probabilities[(slice(None), *box)], region)[counted],
                region.referred(reference[box])[counted],
            )
            self.regions[name] = self.regions.get(name, np.zeros_like(counts)) + counts

    def _probability(
        self, probabilities: Float32[np.ndarray, "k *box"], region: Region
    ) -> Float32[np.ndarray, "*box"]:
        if self._task == "exclusive":
            found = np.minimum(probabilities[list(region.classes)].sum(axis=0), 1)
        else:  # a class that lies wholly in another adds nothing to it
            found = probabilities[[index - 1 for index in region.classes]].max(axis=0)
        return np.asarray(found)


def widened_box(inside: Bool[np.ndarray, "*spatial"]) -> Box:
    """The box around a mask that is not empty, with ``MARGIN`` where the image has room."""
    box = []
    for axis, size in enumerate(inside.shape):
        rest = tuple(other for other in range(inside.ndim) if other != axis)
        found = np.flatnonzero(inside.any(axis=rest))
        first, last = int(found[0]), int(found[-1])
        margin = max(1, round(MARGIN * (last + 1 - first)))
        box.append(slice(max(0, first - margin), min(size, last + 1 + margin)))
    return tuple(box)
