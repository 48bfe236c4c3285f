"""Image to mask, the steps in the order in which they happen.

Evaluation, ``python -m seg.predict`` and the service all call this. Letters: ``k`` classes.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import numpy as np
from jaxtyping import Float32, UInt8

from seg.errors import ImageError
from seg.images import Image, Mask
from seg.inference.backends import Backend
from seg.inference.combined import MirrorBackend
from seg.inference.decision import labels_of
from seg.inference.disagreement import DisagreementBackend
from seg.inference.familiarity import unfamiliar
from seg.inference.loading import load_backend
from seg.inference.postprocess import postprocess
from seg.inference.quality import MapName, QualityMeter, Segmentation
from seg.inference.sliding_window import Slab, predict_slabs
from seg.model_package import ModelPackage
from seg.transforms import Prepared, prepare, resample_rows

Progress = Callable[[int, int], None]
Observe = Callable[[Slab, UInt8[np.ndarray, "*slab"]], None]

ROWS_AT_ONCE = 32
"""Rows of a resampled mask that are computed together; bounds the memory, changes no result."""


class Predictor:
    """A model package that is ready to segment."""

    def __init__(
        self,
        package: ModelPackage,
        backend: Backend | None = None,
        *,
        mirror: bool = False,
        voices: Sequence[Backend] = (),
    ) -> None:
        """Use ``backend``, or load the package with onnxruntime: its ensemble, or first variant.

        Args:
            package: says what is done before and after the network.
            backend: the network.
            mirror: average the logits over all mirrors of a patch: slower by 4 in 2D, by 8 in 3D.
            voices: networks that are heard for a map of disagreement only, e.g. the variants with
                fewer blocks (``fewer_blocks``).

        Raises:
            BackendError: the model cannot be loaded here.
        """
        self.package = package
        backend = backend or load_backend(package)
        self.backend = MirrorBackend(backend) if mirror else backend
        self.voices = tuple(voices)

    def segment(
        self,
        image: Image,
        progress: Progress | None = None,
        maps: Collection[MapName] = (),
    ) -> Segmentation:
        """The mask of ``predict``, and what the model knows of it.

        Args:
            image: as of ``predict``.
            progress: as of ``predict``.
            maps: to keep; each costs two bytes a voxel and channel. Disagreement is that of the
                ensemble, of the mirrored passes and of ``voices``.

        Raises:
            ImageError: the image does not fit the model.
            ConfigError: disagreement of a single network was asked for.
        """
        card = self.package.card
        meter = QualityMeter(card, image.spatial_shape, maps)
        backend = self.backend
        if "disagreement" in maps:
            backend = DisagreementBackend(backend, self.voices, card.task)
        mask = self._mask(backend, image, progress, meter)
        quality = meter.quality(unfamiliar(image, card.input, card.fingerprint))
        found = {
            name: Image(array, image.spacing, image.affine) for name, array in meter.maps.items()
        }
        return Segmentation(mask, quality, found)

    def predict(
        self,
        image: Image,
        progress: Progress | None = None,
        observe: Observe | None = None,
    ) -> Mask:
        """The mask of an image, on the image's own grid.

        Args:
            image: in the intensities of its file; spacing in mm.
            progress: called with windows done and windows in all.
            observe: called with each slab of logits on the image's grid and its labels.

        Raises:
            ImageError: the image does not fit the model (dimensions, channels, NaN).
        """
        return self._mask(self.backend, image, progress, observe)

    def _mask(
        self,
        backend: Backend,
        image: Image,
        progress: Progress | None,
        observe: Observe | None,
    ) -> Mask:
        spec = self.package.card.input
        if image.dims != spec.dims:
            raise ImageError(
                f"this model segments {spec.dims}D images, got one of {image.dims} dimensions "
                f"with size {image.spatial_shape}"
            )
        prepared = prepare(image, spec.preprocessing)
        slabs = predict_slabs(
            backend, prepared.array, spec.overlap, spec.preprocessing.margin, progress
        )
        card = self.package.card
        labels = np.empty(prepared.original_shape, np.uint8)
        for slab in _restored(slabs, prepared) if prepared.is_resampled else slabs:
            rows = labels_of(slab.logits[: card.outputs], card.task)
            labels[slab.start : slab.stop] = rows
            if observe:
                observe(slab, rows)
        return Mask.on_grid_of(image, postprocess(labels, card.postprocessing, card.classes))


def _restored(slabs: Iterable[Slab], prepared: Prepared) -> Iterator[Slab]:
    """Slabs on the original grid: logits are interpolated, since labels can't be."""
    shape = prepared.original_shape
    logits = _collected(slabs, prepared)
    for start in range(0, shape[0], ROWS_AT_ONCE):
        rows = range(start, min(start + ROWS_AT_ONCE, shape[0]))
        yield Slab(rows.start, rows.stop, resample_rows(logits, shape, rows))


def _collected(slabs: Iterable[Slab], prepared: Prepared) -> Float32[np.ndarray, "k *grid"]:
    logits: np.ndarray | None = None
    for slab in slabs:
        if logits is None:
            logits = np.empty((len(slab.logits), *prepared.array.shape[1:]), np.float32)
        logits[:, slab.start : slab.stop] = slab.logits
    assert logits is not None  # an image has at least one slab
    return logits
