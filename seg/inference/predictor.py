"""Image to mask, the steps in the order in which they happen.

Evaluation, ``python -m seg.predict`` and the service all call this. Letters: ``k`` classes.
"""

from collections.abc import Callable, Iterable

import numpy as np
from jaxtyping import Float32, UInt8

from seg.errors import ImageError
from seg.images import Image, Mask
from seg.inference.backends import Backend
from seg.inference.combined import MirrorBackend
from seg.inference.decision import labels_of
from seg.inference.loading import load_backend
from seg.inference.postprocess import postprocess
from seg.inference.sliding_window import Slab, predict_slabs
from seg.model_package import ModelPackage, Task
from seg.transforms import Prepared, prepare, resample_rows

ROWS_AT_ONCE = 32
"""Rows of a resampled mask that are computed together; bounds the memory, changes no result."""


class Predictor:
    """A model package that is ready to segment."""

    def __init__(
        self, package: ModelPackage, backend: Backend | None = None, *, mirror: bool = False
    ) -> None:
        """Use ``backend``, or load the package with onnxruntime: its ensemble, or first variant.

        Args:
            package: says what is done before and after the network.
            backend: the network.
            mirror: average the logits over all mirrors of a patch: slower by 4 in 2D, by 8 in 3D.

        Raises:
            BackendError: the model cannot be loaded here.
        """
        self.package = package
        backend = backend or load_backend(package)
        self.backend = MirrorBackend(backend) if mirror else backend

    def predict(self, image: Image, progress: Callable[[int, int], None] | None = None) -> Mask:
        """The mask of an image, on the image's own grid.

        Args:
            image: in the intensities of its file; spacing in mm.
            progress: called with windows done and windows in all.

        Raises:
            ImageError: the image does not fit the model (dimensions, channels, NaN).
        """
        spec = self.package.card.input
        if image.dims != spec.dims:
            raise ImageError(
                f"this model segments {spec.dims}D images, got one of {image.dims} dimensions "
                f"with size {image.spatial_shape}"
            )
        prepared = prepare(image, spec.preprocessing)
        slabs = predict_slabs(
            self.backend, prepared.array, spec.overlap, spec.preprocessing.margin, progress
        )
        card = self.package.card
        restore = _restored if prepared.is_resampled else _labels
        labels = restore(slabs, prepared, card.task)
        return Mask.on_grid_of(image, postprocess(labels, card.postprocessing, card.classes))


def _labels(slabs: Iterable[Slab], prepared: Prepared, task: Task) -> UInt8[np.ndarray, "*spatial"]:
    labels = np.empty(prepared.original_shape, np.uint8)
    for slab in slabs:
        labels[slab.start : slab.stop] = labels_of(slab.logits, task)
    return labels


def _restored(
    slabs: Iterable[Slab], prepared: Prepared, task: Task
) -> UInt8[np.ndarray, "*spatial"]:
    """Labels on the original grid: logits are interpolated, since labels can't be."""
    shape = prepared.original_shape
    logits = _collected(slabs, prepared)
    labels = np.empty(shape, np.uint8)
    for start in range(0, shape[0], ROWS_AT_ONCE):
        rows = range(start, min(start + ROWS_AT_ONCE, shape[0]))
        labels[rows.start : rows.stop] = labels_of(resample_rows(logits, shape, rows), task)
    return labels


def _collected(slabs: Iterable[Slab], prepared: Prepared) -> Float32[np.ndarray, "k *grid"]:
    logits: np.ndarray | None = None
    for slab in slabs:
        if logits is None:
            logits = np.empty((len(slab.logits), *prepared.array.shape[1:]), np.float32)
        logits[:, slab.start : slab.stop] = slab.logits
    assert logits is not None  # an image has at least one slab
    return logits
