"""One image through the network: its logits in slabs, in the memory of one patch's depth.

``k`` stands for classes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
from jaxtyping import Float32

from seg.errors import ImageError
from seg.images import Image, ImageSource
from seg.inference.backends.onnx import Backend, takes_labels
from seg.inference.labels.selection import Selection
from seg.inference.tiling.apart import DecidedPart, are_apart, decided_parts
from seg.inference.tiling.blending import Slab
from seg.inference.tiling.empty import background_logits, emptiness
from seg.inference.tiling.region import PartOfRows, around, within
from seg.inference.tiling.restoring import embedded, restored
from seg.inference.tiling.sliding_window import Progress, Tiling, WindowCounts, predict_slabs
from seg.inference.tiling.standing import is_on_scale, where_something_stands_out
from seg.inference.trust.disagreement import DisagreementBackend
from seg.inference.trust.quality import QualityMeter
from seg.model_package import ModelCard
from seg.transforms import Rows, prepare_rows
from seg.transforms.rows import WHOLE_BYTES

MANY_LOGITS = 2**30
"""Numbers from which the logits of an image are resampled only where they decide."""
NEIGHBOURS = 2
"""Rows of the network's grid that an interpolated row of the image may depend on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SlabLogits:
    """What a model's network says of images that are turned to its voxel order already."""

    card: ModelCard
    selection: Selection
    overlap: float
    skip_empty: bool

    def slabs(
        self,
        backend: Backend,
        source: ImageSource,
        progress: Progress | None,
        counts: WindowCounts | None = None,
        first: int = 0,
    ) -> Iterator[Slab]:
        """Logits on the image's own grid, background outside of the region that is wanted."""
        region, shape = self.selection.region_on(source), tuple(source.spatial_shape)
        if region is None or len(shape) != self.card.input.dims:
            yield from self._slabs_of_box(None, backend, source, progress, counts, first)
            return
        box = region.box(*shape)
        if box is None:
            raise ImageError(
                f"the region lies outside of this image of {shape[1]} x {shape[0]} pixels, or "
                "holds no pixel's centre; is it in the unit of its coordinates, pixels?"
            )
        slabs = self._slabs_of_box(box, backend, source, progress, counts, first)
        yield from within(slabs, region, shape[1], self._background(backend))

    def _slabs_of_box(
        self,
        box: tuple[slice, ...] | None,
        backend: Backend,
        source: ImageSource,
        progress: Progress | None,
        counts: WindowCounts | None = None,
        first: int = 0,
    ) -> Iterator[Slab]:
        """Logits on the image's own grid, in the memory of one patch's depth; see ``Tiling``."""
        shape = tuple(source.spatial_shape)
        image, slabs = self.grid_slabs(box, backend, source, progress, counts, first)
        background = self._background(backend)
        if box is not None and image.box is None:
            box = around(box, shape, image.shape[1:], backend.patch)
            slabs = embedded(slabs, box, image.shape[1:], background)
        if image.box is None:
            yield from restored(slabs, image.shape[1:], shape)
            return
        kept = tuple(side.stop - side.start for side in image.box)
        slabs = restored(slabs, image.shape[1:], kept, image.nearest_axis)
        if kept != shape:
            slabs = embedded(slabs, image.box, shape, background)
        yield from slabs

    def grid_slabs(  # noqa: PLR0913 - as ``slabs``, and how it is blended
        self,
        box: tuple[slice, ...] | None,
        backend: Backend,
        source: ImageSource,
        progress: Progress | None,
        counts: WindowCounts | None = None,
        first: int = 0,
        *,
        in_bricks: bool = False,
    ) -> tuple[Rows, Iterator[Slab]]:
        """The prepared image, and logits on the network's grid, of a part where a box is given."""
        spec = self.card.input
        shape = tuple(source.spatial_shape)
        if len(shape) != spec.dims:
            raise ImageError(
                f"this model segments {spec.dims}D images, got one of {len(shape)} dimensions "
                f"with size {shape}"
            )
        image = prepare_rows(source, spec.preprocessing, whole_bytes=self._whole_bytes(shape))
        background = self._background(backend)
        part: Rows = image
        if box is not None and image.box is None:
            box = around(box, shape, image.shape[1:], backend.patch)
            part = PartOfRows(image, box)
        tiling = self._tiling(backend, part)
        if first:
            tiling = replace(tiling, first=self._first_of(first, shape, image, box))
        is_looked_at = spec.stands_out and is_on_scale(part, spec.preprocessing.normalisation)
        in_bricks = in_bricks and not is_looked_at
        slabs = predict_slabs(backend, part, tiling, progress, counts, in_bricks=in_bricks)
        if is_looked_at:
            slabs = where_something_stands_out(slabs, part, self.card, background, counts)
        return image, slabs

    def decided_by_backend(
        self,
        backend: Backend,
        image: Image,
        progress: Progress | None,
        counts: WindowCounts | None,
        meter: QualityMeter | None,
    ) -> Iterator[DecidedPart] | None:
        """Labels that are taken where the network runs; None where they need its logits here."""
        card = self.card
        needs_logits = (
            card.task != "exclusive"
            or card.logits != card.outputs
            or self.selection.threshold is not None
            or self.selection.region is not None
            or (meter is not None and meter.needs_logits)
            or len(image.spatial_shape) != card.input.dims
        )
        if needs_logits or not takes_labels(backend):
            return None
        if not are_apart(image.spatial_shape, backend.patch, self.overlap):
            return None  # as most large images are: known before their rows are prepared
        rows = prepare_rows(image, card.input.preprocessing)
        if rows.box is not None or tuple(rows.shape[1:]) != tuple(image.spatial_shape):
            return None
        rule = card.input.stands_out
        if rule and is_on_scale(rows, card.input.preprocessing.normalisation):
            return None  # what objects stand on is looked at beside the logits
        temperature = card.quality.temperature if card.quality else 1.0
        tiling = self._tiling(backend, rows)
        return decided_parts(backend, rows, tiling, temperature, progress, counts)

    def _whole_bytes(self, shape: Sequence[int]) -> int:
        """The sums of a hundred classes leave less room for the image."""
        is_many = self.card.logits * prod(shape) >= MANY_LOGITS
        return WHOLE_BYTES // 2 if is_many else WHOLE_BYTES

    def _first_of(
        self, first: int, shape: Sequence[int], image: Rows, box: tuple[slice, ...] | None
    ) -> int:
        """The row of the part that the network sees on which image row ``first`` depends."""
        rule = self.card.input.stands_out
        cut, size = (0, shape[0]) if image.box is None else (image.box[0].start, _length(image.box))
        row = (first - cut) * image.shape[1] // size
        row -= NEIGHBOURS + (max(rule.reach) if rule else 0)
        return max(0, row - (0 if box is None else box[0].start))

    def _tiling(self, backend: Backend, image: Rows) -> Tiling:
        spec = self.card.input
        overlap, margin = self.overlap, spec.preprocessing.margin
        convention = spec.preprocessing.convention
        if spec.empty is None or not self.skip_empty:
            return Tiling(overlap=overlap, margin=margin, convention=convention)
        return Tiling(
            overlap=overlap,
            margin=margin,
            is_empty=emptiness(spec.empty, image.scalings),
            background=self._background(backend),
            convention=convention,
        )

    def _background(self, backend: Backend) -> Float32[np.ndarray, " k"]:
        """What is said of voxels that no network is asked about."""
        card = self.card
        background = background_logits(card.logits, card.task, card.votes)
        if isinstance(backend, DisagreementBackend):  # nobody disagrees where nobody is asked
            background = np.append(background, np.float32(0))
        return background


def _length(box: tuple[slice, ...]) -> int:
    return int(box[0].stop - box[0].start)
