"""Whether this machine says what the trained network said."""

import numpy as np
from jaxtyping import Float, Float32, UInt32

from seg.errors import BackendError
from seg.images import Mask
from seg.inference.backends.onnx import Backend
from seg.inference.labels.decision import labels_of, probability_error
from seg.model_package import (
    PROBABILITY_TOLERANCE,
    GoldenSamples,
    ModelCard,
    ModelPackage,
    Task,
    Tolerance,
)
from seg.objects import ObjectsMeter, class_logits

COUNT_TOLERANCE = 0.02
"""Share of the objects that may come or go where logits differ within their tolerance."""


def verify_golden(package: ModelPackage, backend: Backend, variant: str | None = None) -> float:
    """Largest absolute error of probabilities on the package's golden samples.

    Raises:
        BackendError: it is above the tolerance, so this machine would give other masks.
    """
    card, golden = package.card, package.golden(variant)
    tolerance = card.tolerance(variant)
    error = agreement(backend, golden, card.task, tolerance)
    if golden.objects is not None:
        _same_objects(golden.objects, golden.logits, card)
        if tolerance.worst <= PROBABILITY_TOLERANCE:
            _same_count(golden, backend, card)
    return error


def objects_of_patches(
    logits: Float[np.ndarray, "b k *patch"], card: ModelCard
) -> UInt32[np.ndarray, "b *patch"]:
    """The objects of each patch, as if it were an image of the network's grid."""
    found = []
    for each in logits:
        labels = labels_of(class_logits(each, card), card.task)
        meter = ObjectsMeter(card, labels.shape)
        meter.take(0, each, labels)
        found.append(meter.objects(Mask(labels)).labels)
    return np.stack(found)


def _same_objects(
    objects: UInt32[np.ndarray, "b *patch"],
    logits: Float[np.ndarray, "b k *patch"],
    card: ModelCard,
) -> None:
    if not np.array_equal(objects_of_patches(logits, card), objects):
        raise BackendError(
            "this program makes other objects of the package's golden logits than its export did; "
            "serve it with the version that exported it, or export it again"
        )


def _same_count(golden: GoldenSamples, backend: Backend, card: ModelCard) -> None:
    """What logits that differ a little may change: the border of an object, not whether it is."""
    assert golden.objects is not None
    there = int(golden.objects.reshape(len(golden.objects), -1).max(axis=1).sum())
    ours = objects_of_patches(_run(backend, golden), card)
    here = int(ours.reshape(len(ours), -1).max(axis=1).sum())
    if abs(here - there) > COUNT_TOLERANCE * there:
        raise BackendError(
            f"{backend.provider} finds {here} objects in the package's golden samples, where the "
            f"trained network found {there}"
        )


def agreement(
    backend: Backend,
    golden: GoldenSamples,
    task: Task,
    tolerance: Tolerance = Tolerance(),  # noqa: B008 - frozen
) -> float:
    """Largest absolute error of probabilities on some samples.

    Raises:
        BackendError: it, or the mean error, is above the tolerance.
    """
    logits = _run(backend, golden)
    worst, mean = probability_error(logits, golden.logits, task)
    allowed = {"": (worst, tolerance.worst), " on average": (mean, tolerance.mean)}
    for how, (error, limit) in allowed.items():
        if not error <= limit:
            raise BackendError(
                f"{backend.provider} disagrees with the package's golden samples: probabilities "
                f"differ{how} by {error:.2g}, allowed are {limit:.0e}"
            )
    return worst


def _run(backend: Backend, golden: GoldenSamples) -> Float32[np.ndarray, "b k *patch"]:
    steps = range(0, len(golden.patches), backend.batch_size)
    return np.concatenate([backend.run(golden.patches[i : i + backend.batch_size]) for i in steps])
