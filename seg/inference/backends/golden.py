"""Whether this machine says what the trained network said."""

import logging
import math
from contextlib import suppress

import numpy as np
from jaxtyping import Float, Float32, UInt32

from seg.errors import BackendError, OtherAnswerError
from seg.images import Mask
from seg.inference.backends.deciding import Decided, decided_by
from seg.inference.backends.onnx import Backend, OnnxBackend
from seg.inference.backends.ways import tolerance_of, way_of
from seg.inference.labels.decision import (
    ProbabilityError,
    labels_of,
    probabilities_of,
    probability_error,
)
from seg.model_package import (
    PROBABILITY_TOLERANCE,
    GoldenSamples,
    ModelCard,
    ModelPackage,
    Task,
    Tolerance,
)
from seg.objects import ObjectsMeter, class_logits

LOGGER = logging.getLogger(__name__)

FLOAT16 = 1e-3
"""What float16 may round away of a probability, and more."""
ROUNDED_OTHERWISE = 1e-3
"""Of a probability, what sums in another order change at most; mixed patches change far more."""
COUNT_TOLERANCE = 0.02
"""Share of the objects that may come or go where logits differ within their tolerance."""


def verify_golden(package: ModelPackage, backend: Backend, variant: str | None = None) -> float:
    """Largest absolute error of probabilities on the package's golden samples.

    Raises:
        BackendError: it is above the tolerance, so this machine would give other masks.
    """
    card, golden = package.card, package.golden(variant)
    way = way_of(backend)
    if way.variant is not None:
        golden = package.golden(way.variant)
    tolerance = tolerance_of(card, variant, way)
    error = agreement(backend, golden, card.task, tolerance)
    _prove_head(backend, golden, card, tolerance)
    if golden.objects is not None:
        _same_objects(golden.objects, golden.logits, card)
        if tolerance.worst <= PROBABILITY_TOLERANCE:
            _same_count(golden, backend, card)
    return error


def _prove_head(
    backend: Backend, golden: GoldenSamples, card: ModelCard, tolerance: Tolerance
) -> None:
    """Let labels be taken where the network runs only if they are those of the golden logits."""
    if not isinstance(backend, OnnxBackend) or not backend.decides or card.task != "exclusive":
        return
    temperature = card.quality.temperature if card.quality else 1.0
    worst = math.inf
    with suppress(BackendError):
        patches = golden.patches[: backend.batch_size]
        inside = np.ones((len(patches), 1, *backend.patch), np.uint8)
        found = backend.decide(patches, inside, temperature)
        pairs = zip(found, golden.logits, strict=False)
        worst = max(_off(decided, logits, temperature) for decided, logits in pairs)
    if not worst <= tolerance.worst + FLOAT16:
        backend.decides = False
        LOGGER.warning(
            "labels are taken on the host: %s says other ones than the golden samples, "
            "probabilities differ by %.2g", backend.provider, worst,
        )  # fmt: skip


def _off(found: Decided, logits: Float[np.ndarray, "k *patch"], temperature: float) -> float:
    right = decided_by(logits, np.ones(logits.shape[1:], np.uint8), temperature)
    probability_of_label = np.take_along_axis(
        probabilities_of(logits), found.labels[None].astype(np.int64), axis=0
    )[0]
    pairs = (
        (found.likeliest, right.likeliest),
        (found.likeliest, probability_of_label),
        (found.mass / right.labels.size, right.mass / right.labels.size),
    )
    return max(float(np.abs(a.astype(np.float32) - b.astype(np.float32)).max()) for a, b in pairs)


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


def golden_error(
    package: ModelPackage, backend: Backend, variant: str | None = None
) -> ProbabilityError:
    """How far probabilities are off on the package's golden samples."""
    golden = package.golden(way_of(backend).variant or variant)
    return probability_error(_run(backend, golden), golden.logits, package.card.task)


def agreement(
    backend: Backend,
    golden: GoldenSamples,
    task: Task,
    tolerance: Tolerance = Tolerance(),  # noqa: B008 - frozen
) -> float:
    """Largest absolute error of probabilities on some samples.

    Raises:
        OtherAnswerError: it, or the mean error, is above the tolerance.
    """
    logits = _run(backend, golden)
    worst, mean = probability_error(logits, golden.logits, task)
    allowed = {"": (worst, tolerance.worst), " on average": (mean, tolerance.mean)}
    for how, (error, limit) in allowed.items():
        if not error <= limit:
            raise OtherAnswerError(
                f"{way_in_words(backend)} disagrees with the package's golden samples: "
                f"probabilities differ{how} by {error:.2g}, allowed are {limit:.0e}"
            )
    return worst


def verify_batch(
    package: ModelPackage, backend: Backend, size: int, variant: str | None = None
) -> None:
    """Let so many patches share a run only if each is answered as it is among other ones.

    A network may mix its patches, by a maximum over all of them or by statistics of the batch:
    whoever asked would get a mask that depends on who asked at the same time.

    Raises:
        OtherAnswerError: a probability is off by more than arithmetic of another order explains.
    """
    way = way_of(backend)
    golden = package.golden(way.variant or variant)
    patches, logits = (
        np.resize(each, (size, *each.shape[1:])) for each in (golden.patches, golden.logits)
    )
    answers = backend.run(np.ascontiguousarray(patches))
    worst, _ = probability_error(answers, logits, package.card.task)
    if not worst <= 2 * tolerance_of(package.card, variant, way).worst + ROUNDED_OTHERWISE:
        raise OtherAnswerError(
            f"{way_in_words(backend)} disagrees with the package's golden samples where "
            f"{size} share a run (probabilities differ by {worst:.2g}): the network mixes its "
            "patches; export it so that each is answered by itself"
        )


def way_in_words(backend: Backend) -> str:
    """What computes, and in which precision where that is not float32."""
    precision = way_of(backend).precision
    return backend.provider if precision == "float32" else f"{backend.provider} in {precision}"


def _run(backend: Backend, golden: GoldenSamples) -> Float32[np.ndarray, "b k *patch"]:
    steps = range(0, len(golden.patches), backend.batch_size)
    return np.concatenate([backend.run(golden.patches[i : i + backend.batch_size]) for i in steps])
