"""Logits in slabs to labels in slabs, while meters and objects look at both."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import prod

import numpy as np
from jaxtyping import UInt8

from seg.images import Image, ImageSource
from seg.inference.backends.onnx import Backend
from seg.inference.labels.decision import decided
from seg.inference.slab_logits import MANY_LOGITS, SlabLogits
from seg.inference.tiling.blending import Slab
from seg.inference.tiling.likely import likely_labels
from seg.inference.tiling.sliding_window import Progress, WindowCounts
from seg.inference.trust.quality import QualityMeter
from seg.objects import SlabTaker, class_logits
from seg.transforms import resampled_shape

Observe = Callable[[Slab, UInt8[np.ndarray, "*slab"]], None]


@dataclass(frozen=True, slots=True)
class SlabLabels:
    """The labels of images that are turned already, before postprocessing."""

    logits: SlabLogits

    def of_image(
        self,
        backend: Backend,
        image: Image,
        progress: Progress | None,
        observe: Observe | None,
        counts: WindowCounts | None = None,
        objects: SlabTaker | None = None,
    ) -> UInt8[np.ndarray, "*spatial"]:
        """Those of a whole image.

        Raises:
            ImageError: the image does not fit the model.
        """
        labels = np.empty(image.spatial_shape, np.uint8)
        if objects is None and (observe is None or isinstance(observe, QualityMeter)):
            parts = self.logits.decided_by_backend(backend, image, progress, counts, observe)
            if parts is not None:
                for part in parts:
                    labels[part.where] = part.decided.labels
                    if observe:
                        observe.take_decided(*part)
                return labels
        for start, rows in self.parts(backend, image, progress, observe, counts, objects):
            labels[start : start + len(rows)] = rows
        return labels

    def labelled(
        self,
        backend: Backend,
        source: ImageSource,
        progress: Progress | None,
        counts: WindowCounts | None,
        first: int = 0,
    ) -> Iterator[tuple[Slab, Slab, UInt8[np.ndarray, "*slab"]]]:
        """All channels, those of the classes, and labels, from row ``first`` on."""
        card = self.logits.card
        for raw in self.logits.slabs(backend, source, progress, counts, first):
            if raw.stop <= first:
                continue
            slab = replace(raw, logits=class_logits(raw.logits, card))
            yield raw, slab, decided(slab.logits[: card.outputs], card, self.logits.selection)

    def parts(
        self,
        backend: Backend,
        source: ImageSource,
        progress: Progress | None,
        observe: Observe | None,
        counts: WindowCounts | None,
        objects: SlabTaker | None = None,
    ) -> Iterator[tuple[int, UInt8[np.ndarray, "*slab"]]]:
        """First row and labels of each part, which ``observe`` and ``objects`` have seen."""
        if objects is None and self._may_be_likely(source, observe):
            yield from self._likely(backend, source, progress, observe, counts)
            return
        for raw, slab, rows in self.labelled(backend, source, progress, counts):
            if observe:
                observe(slab, rows)
            if objects:
                objects.take(raw.start, raw.logits, rows)
            yield slab.start, rows

    def _may_be_likely(self, source: ImageSource, observe: Observe | None) -> bool:
        """Whether the logits of all classes need not be resampled, and are many."""
        card, wanted = self.logits.card, self.logits.selection
        shape, spec = tuple(source.spatial_shape), card.input.preprocessing
        meter_needs_all = observe is not None and not (
            isinstance(observe, QualityMeter) and not observe.maps
        )
        return (
            card.task == "exclusive"
            and wanted.threshold is None
            and len(shape) == card.input.dims == 3
            and not meter_needs_all
            and card.outputs * prod(shape) >= MANY_LOGITS
            and resampled_shape(shape, source.spacing, spec.spacing) != shape
        )

    def _likely(
        self,
        backend: Backend,
        source: ImageSource,
        progress: Progress | None,
        observe: Observe | None,
        counts: WindowCounts | None,
    ) -> Iterator[tuple[int, UInt8[np.ndarray, "*slab"]]]:
        """The labels of ``labelled``; quality is told of the network's own grid."""
        card, shape = self.logits.card, tuple(source.spatial_shape)
        image, slabs = self.logits.grid_slabs(
            None, backend, source, progress, counts, in_bricks=True
        )
        box = image.box or tuple(slice(0, n) for n in shape)
        kept = tuple(side.stop - side.start for side in box)
        if isinstance(observe, QualityMeter):
            observe.voxels_each = prod(shape) / prod(image.shape[1:])
        around = np.zeros((box[0].start, *shape[1:]), np.uint8)
        if len(around):
            yield 0, around
        own = (replace(s, logits=class_logits(s.logits, card)[: card.outputs]) for s in slabs)
        for slab, start, rows in likely_labels(own, image.shape[1:], kept, image.nearest_axis):
            if observe:
                observe(slab, decided(slab.logits, card, self.logits.selection))
            if rows is None:
                continue
            if kept != shape:
                around = np.zeros((len(rows), *shape[1:]), np.uint8)
                around[(slice(None), *box[1:])] = rows
                rows = around
            yield box[0].start + start, rows
        if box[0].stop < shape[0]:
            yield box[0].stop, np.zeros((shape[0] - box[0].stop, *shape[1:]), np.uint8)
