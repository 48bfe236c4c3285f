"""From a trained network to a package with several variants: made, scored, timed, chosen.

Letters: ``b`` patches, ``c`` channels.
"""

import logging
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from tqdm import tqdm

from seg.inference import Backend, OnnxBackend, Predictor, open_model
from seg.inference.backends.remembered import processor_name
from seg.model_package import (
    GoldenSamples,
    ModelPackage,
    Variant,
    Weights,
    write_golden,
)
from seg.networks import SegmentationNetwork
from training.evaluation.scores import Evaluation
from training.learning.gates import Pruned, pruned
from training.onnx_files.proof import FULL
from training.packaging.card import UNWRITTEN, card_of, scores_of, unwritten
from training.packaging.objects import with_objects
from training.packaging.package import GOLDEN_SAMPLES, Finished
from training.packaging.writer import write_networks
from training.run.job import TrainingJob
from training.samples.held_back import held_back_patches
from training.variants.front import Point, front
from training.variants.lesions import Lesions, depths, lesions_of
from training.variants.make import Bench, Made, Source, make_all, rounding_backend
from training.variants.probe import probe_of
from training.variants.wishes import Wishes

FOR_CARDS = ("tf32", "float16")
"""Precisions that a CPU computes otherwise: they are timed on a card alone."""
ROUNDS = 9
"""Of timing; in each round every variant runs once, so that what disturbs one disturbs all."""

log = logging.getLogger("training")


@dataclass(frozen=True, eq=False)
class MeasuredVariant:
    """A variant with its scores and its time."""

    made: Made
    evaluation: Evaluation
    milliseconds: float | None
    kept: bool = False
    tells_apart: bool = False
    """It has channels for objects."""

    def point(self, classes: Sequence[str]) -> Point:
        """Where it stands between Dice and time."""
        scores = scores_of(self.evaluation)
        dice = [scores[name].dice for name in classes if name in scores]
        point = Point(self.made.name, float(np.mean(dice or [0.0])), self.milliseconds)
        objects = self.evaluation.objects.values() if self.tells_apart else ()
        found = [each.measures["ap_50"].value for each in objects if "ap_50" in each.measures]
        if not found:
            return point
        count = sum(each.reference for each in objects)
        return replace(point, objects=float(np.mean(found)), an_object=1 / max(1, count))


@dataclass(frozen=True, eq=False)
class Elastic:
    """A package with variants, and all that was tried on the way."""

    finished: Finished
    lesions: Lesions
    measured: tuple[MeasuredVariant, ...]
    compared: Lesions | None = None
    """Of a network that was trained otherwise."""


def write_variants(  # noqa: PLR0913 - student and other are what may be missing
    network: SegmentationNetwork,
    job: TrainingJob,
    target: Path,
    assess: Callable[[Predictor], Evaluation],
    wishes: Wishes,
    student: SegmentationNetwork | None = None,
    other: SegmentationNetwork | None = None,
) -> Elastic:
    """Make variants, score and time each, and write those that no other one beats.

    Args:
        network: trained.
        job: what it learnt.
        target: folder of the package, written whole or not at all.
        assess: scores a predictor on whole test images.
        wishes: what to try.
        student: a small network that learnt from the large one.
        other: a network that was trained otherwise, whose lesion curve is shown beside.

    Raises:
        BackendError: a file disagrees with the network that it was made of.
    """
    network = network.cpu().float().eval()
    small = pruned(network) if job.plan.compute_penalty else Pruned(network)
    network, gone = small.network, small.removed
    legend = job.dataset.legend
    patches = held_back_patches(job.dataset, job.plan, GOLDEN_SAMPLES).images
    probe = probe_of(job.dataset, job.plan)
    lesions = lesions_of(network, probe)
    compared = None if other is None else lesions_of(other, probe)
    sources = [Source(FULL, network, gone)]
    sources += [
        Source(f"drop-{len(cut.dropped)}", network.without(cut.dropped), gone + cut.dropped)
        for cut in depths(lesions, wishes.depths, wishes.most_lost)
    ]
    if student is not None:
        sources.append(Source("small", student.cpu().float().eval(), distilled=True))
    bench = Bench(patches, probe, legend.task, wishes.int8_tolerance, job.device.kind)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        count = len(sources) * len(wishes.precisions)
        made = list(
            tqdm(
                make_all(sources, wishes.precisions, bench, work),
                desc="exporting", total=count, unit="variant", disable=None,
            )
        )  # fmt: skip
        measured = _chosen(_measured(made, job, work, assess, patches), job, wishes.most_lost)
        finished = _write([m for m in measured if m.kept], job, target, patches)
    return Elastic(finished, lesions, tuple(measured), compared)


def _measured(
    made: Sequence[Made],
    job: TrainingJob,
    work: Path,
    assess: Callable[[Predictor], Evaluation],
    patches: Float32[np.ndarray, "b c *patch"],
) -> list[MeasuredVariant]:
    """Scores by the same predictor that serves, and times side by side."""
    first = made[0]
    write_golden(work, GoldenSamples(patches, first.golden))
    card = card_of(job, [unwritten(first.name)])
    card = with_objects(card, work, OnnxBackend(first.file, provider="cpu"), job)
    package = ModelPackage(work, card)
    evaluations = [
        assess(Predictor(package, _scored_backend(variant, job)))
        for variant in tqdm(made, desc="scoring", unit="variant", disable=None)
    ]
    times = _milliseconds(made, job, patches)
    tells_apart = job.plan.instances != "none"
    return [
        MeasuredVariant(variant, evaluation, times.get(variant.name), tells_apart=tells_apart)
        for variant, evaluation in zip(made, evaluations, strict=True)
    ]


def _milliseconds(
    made: Sequence[Made], job: TrainingJob, patches: Float32[np.ndarray, "b c *patch"]
) -> Mapping[str, float]:
    """Median time of a patch: on one core of the CPU, or on the GPU."""
    backends: dict[str, Backend] = {
        each.name: _timed_backend(each, job)
        for each in made
        if each.precision not in FOR_CARDS or job.device.kind == "cuda"
    }
    seconds: dict[str, list[float]] = {name: [] for name in backends}
    for turn in range(1 + ROUNDS):
        for name, backend in backends.items():
            batch = np.resize(patches, (backend.batch_size, *patches.shape[1:]))
            start = time.perf_counter()
            backend.run(batch)
            if turn:  # the first warms up
                seconds[name].append((time.perf_counter() - start) / len(batch))
    return {name: round(1000 * float(np.median(each)), 3) for name, each in seconds.items()}


def _scored_backend(made: Made, job: TrainingJob) -> Backend:
    if made.precision in FOR_CARDS:
        return rounding_backend(made.file, made.precision, job.device.kind)
    return OnnxBackend(made.file, provider="cpu")


def _timed_backend(made: Made, job: TrainingJob) -> Backend:
    if job.device.kind == "cuda" and made.precision != "int8":
        return open_model(made.file, "cuda", tf32=made.precision == "tf32")
    return OnnxBackend(made.file, provider="cpu", threads=1)


def _chosen(
    measured: Sequence[MeasuredVariant], job: TrainingJob, most_lost: float
) -> list[MeasuredVariant]:
    classes = [info.name for info in job.dataset.classes[1:]]
    kept = {point.name for point in front([m.point(classes) for m in measured], most_lost)}
    return [replace(each, kept=each.made.name in kept) for each in measured]


def _write(
    kept: Sequence[MeasuredVariant],
    job: TrainingJob,
    target: Path,
    patches: Float32[np.ndarray, "b c *patch"],
) -> Finished:
    """The package; the weights of one precision are one file."""
    scored = kept[0].evaluation
    card = card_of(job, [_variant(measured, job) for measured in kept]).model_copy(
        update={"metrics": scores_of(scored), "quality": scored.quality}
    )
    written = write_networks({m.made.name: m.made for m in kept}, card, patches, target, job)
    return Finished(written.package, scored, written.error)


def _stored(made: Made) -> str:
    """The precision that weights are kept in: tf32 has those of float32."""
    return "float32" if made.precision == "tf32" else made.precision


def _variant(measured: MeasuredVariant, job: TrainingJob) -> Variant:
    made = measured.made
    blocks = made.source.network.droppable_blocks(reshaping=True)
    on_cpu = job.device.kind == "cpu" or made.precision == "int8"
    hardware = f"one core of {processor_name()}, onnxruntime" if on_cpu else job.device.name
    return Variant(
        name=made.name,
        file=made.file.name,
        sha256=UNWRITTEN,
        weights=Weights(file=f"{_stored(made)}.weights", sha256=UNWRITTEN),
        precision=made.precision,
        blocks_dropped=made.source.dropped,
        blocks_kept=len(blocks),
        float_layers=made.float_layers,
        distilled=made.source.distilled,
        tolerance=made.tolerance.worst,
        mean_tolerance=made.tolerance.mean,
        gigaflops=made.gigaflops,
        dice=scores_of(measured.evaluation),
        milliseconds_per_patch=measured.milliseconds,
        measured_on=hardware if measured.milliseconds is not None else None,
        quality=measured.evaluation.quality,
    )
