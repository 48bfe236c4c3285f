"""The one writer of packages: files, their proof, golden samples, objects, scores, card.

Letters: ``b`` batch, ``c`` channels, ``k`` channels of logits.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import onnx
from jaxtyping import Float32
from torch import nn

from seg.errors import BackendError
from seg.files import sha256_of, written_whole
from seg.inference import (
    Backend,
    EnsembleBackend,
    OnnxBackend,
    Predictor,
    load_backend,
    verify_golden,
)
from seg.model_package import (
    GoldenSamples,
    ModelCard,
    ModelPackage,
    Tolerance,
    Variant,
    write_card,
    write_golden,
)
from training.evaluation.scores import Evaluation
from training.onnx_files.proof import milliseconds_per_patch, proven, reference_logits
from training.onnx_files.shared_weights import referenced_bytes, share_weights
from training.onnx_files.write import SAMPLES_A_BATCH, write_onnx
from training.packaging.card import scores_of
from training.packaging.faster_ways import with_faster_ways
from training.packaging.objects import with_objects
from training.run.job import TrainingJob

Assess = Callable[[Predictor], Evaluation]
"""Scores a predictor of the very files that will serve."""
Measure = Callable[[ModelPackage], ModelCard]
"""The card with what faster ways cost."""


class Network(Protocol):
    """A trained network, whatever it is made of."""

    def logits(
        self, patches: Float32[np.ndarray, "b c *patch"]
    ) -> Float32[np.ndarray, "b k *patch"]:
        """What the network itself says."""
        ...

    def write(self, patches: Float32[np.ndarray, "b c *patch"], file: Path) -> None:
        """Write ONNX with that patch and any batch size."""
        ...


@dataclass(frozen=True)
class TorchNetwork(Network):
    """A module of torch, on the CPU and in float32."""

    module: nn.Module

    def logits(
        self, patches: Float32[np.ndarray, "b c *patch"]
    ) -> Float32[np.ndarray, "b k *patch"]:
        """What the module says."""
        return reference_logits(self.module.eval(), patches)

    def write(self, patches: Float32[np.ndarray, "b c *patch"], file: Path) -> None:
        """Export it."""
        write_onnx(self.module.eval(), patches[:SAMPLES_A_BATCH], file)


@dataclass(frozen=True, eq=False)
class Written:
    """A package on disk, proven."""

    package: ModelPackage
    error: float
    """Largest absolute error of a probability on the golden samples, of any of its files."""
    evaluation: Evaluation | None = None
    """None where nothing was scored."""


def write_networks(  # noqa: PLR0913 - what is written, where, and what is learnt of it
    networks: Mapping[str, Network],
    card: ModelCard,
    patches: Float32[np.ndarray, "b c *patch"],
    target: Path,
    job: TrainingJob | None = None,
    assess: Assess | None = None,
    measure: Measure | None = None,
) -> Written:
    """Write networks as a package, whole or not at all, and prove that each file says the same.

    Args:
        networks: by the name of their variant.
        card: all that is known of the package and of its variants but what the files tell: their
            hashes, sizes and scores. Variants that name one file of weights share it.
        patches: preprocessed; the golden samples.
        target: folder of the package.
        job: by which objects are told apart, and on what is timed; of networks trained here.
        assess: scores the package; what it finds is in the card.
        measure: of networks trained elsewhere, what faster ways cost.

    Raises:
        BackendError: a file disagrees with its network.
        DatasetError: a case cannot be read.
    """
    logits = {variant.name: networks[variant.name].logits(patches) for variant in card.variants}
    evaluation = None
    with written_whole(target) as folder:
        for variant in card.variants:
            networks[variant.name].write(patches, folder / variant.file)
        _share_weights(card.variants, folder)
        variants = tuple(_with_hashes(variant, folder) for variant in card.variants)
        card = card.model_copy(update={"variants": variants})
        error = max(
            _proven(card, variant, folder, GoldenSamples(patches, logits[variant.name]))
            for variant in variants
        )
        card = card.model_copy(
            update={"golden_sha256": _write_golden(card, patches, logits, folder)}
        )
        if job is not None:
            backend = _backend(ModelPackage(folder, card))
            card = with_objects(card, folder, backend, job)
            if card.instances:
                verify_golden(ModelPackage(folder, card), backend)
            card = with_faster_ways(card, folder, job)
            if card.faster_ways:  # scores are those of what will serve
                backend = load_backend(ModelPackage(folder, card))
            if assess is not None:
                evaluation = assess(Predictor(ModelPackage(folder, card), backend))
                card = _scored(card, evaluation, folder, patches, job)
        elif measure is not None:
            card = measure(ModelPackage(folder, card))
        write_card(folder, card)
    return Written(ModelPackage.load(target), error, evaluation)


def _share_weights(variants: Sequence[Variant], folder: Path) -> None:
    for weights in dict.fromkeys(variant.weights.file for variant in variants if variant.weights):
        files = [folder / v.file for v in variants if v.weights and v.weights.file == weights]
        share_weights(((onnx.load(file), file) for file in files), folder / weights)


def _with_hashes(variant: Variant, folder: Path) -> Variant:
    file = folder / variant.file
    hashed = variant.model_copy(update={"sha256": sha256_of(file)})
    if variant.weights is None:
        return hashed
    weights = variant.weights.model_copy(
        update={"sha256": sha256_of(folder / variant.weights.file)}
    )
    size = round((file.stat().st_size + referenced_bytes(file)) / 1e6, 3)
    return hashed.model_copy(update={"weights": weights, "megabytes": size})


def _proven(card: ModelCard, variant: Variant, folder: Path, golden: GoldenSamples) -> float:
    tolerance = Tolerance(variant.tolerance, variant.mean_tolerance)
    try:
        return proven(folder / variant.file, golden, card.task, tolerance)
    except BackendError as error:
        if len(card.variants) == 1:
            raise
        raise BackendError(f"{variant.name}: {error}") from error


def _write_golden(
    card: ModelCard,
    patches: Float32[np.ndarray, "b c *patch"],
    logits: Mapping[str, Float32[np.ndarray, "b k *patch"]],
    folder: Path,
) -> str:
    """What the package says, its ensemble or its first network, and what the others say."""
    if card.ensemble:
        members = [_Remembered(logits[name]) for name in card.ensemble]
        together = EnsembleBackend(members, card.task, card.averaging, card.votes).run(patches)
        return write_golden(folder, GoldenSamples(patches, together), logits)
    first, *others = logits
    return write_golden(
        folder, GoldenSamples(patches, logits[first]), {name: logits[name] for name in others}
    )


class _Remembered:
    """A backend that says what a network has said to the golden patches."""

    provider = "torch"
    callers = 1

    def __init__(self, logits: Float32[np.ndarray, "b k *patch"]) -> None:
        self._logits = logits
        self.patch: tuple[int, ...] = logits.shape[2:]
        self.batch_size = len(logits)

    def run(self, patches: Float32[np.ndarray, "b c *patch"]) -> Float32[np.ndarray, "b k *patch"]:
        """What it said."""
        assert len(patches) == len(self._logits)
        return self._logits


def _backend(package: ModelPackage) -> Backend:
    return load_backend(package) if package.card.ensemble else OnnxBackend(package.model_file())


def _scored(
    card: ModelCard,
    evaluation: Evaluation,
    folder: Path,
    patches: Float32[np.ndarray, "b c *patch"],
    job: TrainingJob,
) -> ModelCard:
    """With the scores of the package, and the time of its first network."""
    scores = scores_of(evaluation)
    first, *others = card.variants
    milliseconds = milliseconds_per_patch(OnnxBackend(folder / first.file), patches)
    of_first = {"milliseconds_per_patch": round(milliseconds, 3), "measured_on": job.device.name}
    first = first.model_copy(update=of_first if card.ensemble else {**of_first, "dice": scores})
    return card.model_copy(
        update={
            "variants": (first, *others),
            "metrics": scores,
            "quality": evaluation.quality,
        }
    )
