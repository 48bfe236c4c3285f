"""Every network that may become a variant, as ONNX, with what it says to the golden patches.

Letters: ``b`` patches, ``c`` channels, ``k`` channels of logits.
"""

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import onnxruntime as ort
from jaxtyping import Float32

from seg.inference import Backend, OnnxBackend
from seg.inference.labels.decision import probability_error
from seg.model_package import GoldenSamples, Task, Tolerance
from seg.networks import SegmentationNetwork
from seg.networks.costs import flops_of
from training.onnx_files.own_types import OwnTypesBackend, can_be_evaluated
from training.onnx_files.proof import FULL, proven, reference_logits
from training.onnx_files.write import write_onnx
from training.packaging.writer import Network
from training.run.names import VariantPrecision
from training.variants.half import to_float16
from training.variants.probe import Probe
from training.variants.quantise import to_int8

SPREAD = 2.0
"""Tolerance of a lower precision, in errors that this machine makes with it itself."""
LEAST_TOLERANCE, MOST_TOLERANCE = 0.02, 0.5
LEAST_MEAN_TOLERANCE, MOST_MEAN_TOLERANCE = 1e-4, 0.01
"""Single voxels at a border may come out quite differently; many that do are another network."""

log = logging.getLogger("training")


@dataclass(frozen=True, eq=False)
class Source:
    """A network to make variants of."""

    name: str
    network: SegmentationNetwork
    dropped: tuple[str, ...] = ()
    distilled: bool = False


@dataclass(frozen=True, eq=False)
class Made(Network):
    """A network in one precision."""

    name: str
    source: Source
    precision: VariantPrecision
    file: Path
    """ONNX with its weights inside."""
    golden: Float32[np.ndarray, "b k *patch"]
    tolerance: Tolerance
    gigaflops: float
    float_layers: tuple[str, ...] = ()

    def logits(
        self, patches: Float32[np.ndarray, "b c *patch"]
    ) -> Float32[np.ndarray, "b k *patch"]:
        """What was said to the golden patches when it was made."""
        assert len(patches) == len(self.golden)
        return self.golden

    def write(self, patches: Float32[np.ndarray, "b c *patch"], file: Path) -> None:
        """Copy the file."""
        shutil.copyfile(self.file, file)


@dataclass(frozen=True, eq=False)
class Bench:
    """What all variants are made and judged with."""

    golden: Float32[np.ndarray, "b c *patch"]
    """Real patches of test cases, which travel with the package."""
    probe: Probe
    task: Task
    int8_tolerance: float
    """Dice that rounding to int8 may cost on the windows of the probe."""
    device: Literal["cpu", "cuda"] = "cpu"
    """That is here."""


def make_all(
    sources: Sequence[Source], precisions: Sequence[VariantPrecision], bench: Bench, folder: Path
) -> Iterator[Made]:
    """Each network in each precision, float32 first.

    Raises:
        BackendError: ONNX and network disagree in float32.
    """
    worst: tuple[str, ...] = ()
    for source in sources:
        for precision in precisions:
            if precision == "int8":
                known = () if source.distilled else worst
                made, layers = _int8(source, bench, folder, known)
                worst = worst if source.distilled else layers
                yield made
            else:
                make = {"float32": _float32, "tf32": _tf32, "float16": _float16}[precision]
                if found := make(source, bench, folder):
                    yield found


def _float32(source: Source, bench: Bench, folder: Path) -> Made:
    file = folder / f"{source.name}.onnx"
    logits = reference_logits(source.network, bench.golden)
    write_onnx(source.network, bench.golden, file)
    proven(file, GoldenSamples(bench.golden, logits), bench.task)
    return Made(
        name=source.name,
        source=source,
        precision="float32",
        file=file,
        golden=logits,
        tolerance=Tolerance(),
        gigaflops=_gigaflops(source, bench),
    )


def _int8(
    source: Source, bench: Bench, folder: Path, worst: tuple[str, ...]
) -> tuple[Made, tuple[str, ...]]:
    """The variant, and which layers do most damage where that is known by now."""
    name = _named(source, "int8")
    plain, file = folder / f"{name}.plain.onnx", folder / f"{name}.onnx"
    write_onnx(source.network, bench.golden, plain, exact_norms=False)
    quantised = to_int8(onnx.load(plain), bench.probe, bench.int8_tolerance, worst)
    plain.unlink()
    onnx.save(quantised.model, file)
    # What integers say is the reference of what they ought to say elsewhere; how far another
    # processor may be from it, float arithmetic on the same rounded numbers tells.
    logits = _run(OnnxBackend(file, provider="cpu", threads=1).run, bench.golden)
    made = Made(
        name=name,
        source=source,
        precision="int8",
        file=file,
        golden=logits,
        tolerance=_tolerance(_run(_in_float(file), bench.golden), logits, bench.task),
        gigaflops=_gigaflops(source, bench),
        float_layers=quantised.float_layers,
    )
    return made, quantised.worst


def _float16(source: Source, bench: Bench, folder: Path) -> Made | None:
    """The variant; None where float16 is too small for what the network computes."""
    name = _named(source, "float16")
    plain, file = folder / f"{name}.plain.onnx", folder / f"{name}.onnx"
    logits = reference_logits(source.network, bench.golden)
    write_onnx(source.network, bench.golden, plain, exact_norms=False)
    onnx.save(to_float16(onnx.load(plain)), file)
    plain.unlink()
    rounded = _run(rounding_backend(file, "float16", bench.device).run, bench.golden)
    worst = mean = np.inf
    if np.isfinite(rounded).all():
        worst, mean = probability_error(rounded, logits, bench.task)
    if worst > MOST_TOLERANCE or mean > MOST_MEAN_TOLERANCE:
        log.warning(
            "variants  %s is left out: its probabilities differ by %.2g, on average by %.2g",
            name, worst, mean,
        )  # fmt: skip
        return None
    return Made(
        name=name,
        source=source,
        precision="float16",
        file=file,
        golden=logits,
        tolerance=_tolerance(rounded, logits, bench.task),
        gigaflops=_gigaflops(source, bench),
    )


def _tf32(source: Source, bench: Bench, folder: Path) -> Made:
    """The file of float32 once more: what is rounded is rounded by the card."""
    name = _named(source, "tf32")
    file = folder / f"{name}.onnx"
    logits = reference_logits(source.network, bench.golden)
    write_onnx(source.network, bench.golden, file)
    rounded = _run(rounding_backend(file, "tf32", bench.device).run, bench.golden)
    return Made(
        name=name,
        source=source,
        precision="tf32",
        file=file,
        golden=logits,
        tolerance=_tolerance(rounded, logits, bench.task),
        gigaflops=_gigaflops(source, bench),
    )


def rounding_backend(
    file: Path, precision: VariantPrecision, device: Literal["cpu", "cuda"]
) -> Backend:
    """What shows what a card's precision loses: the card, or each operator in its own type."""
    tf32 = precision == "tf32"
    if device == "cuda":
        return OnnxBackend(file, provider="cuda", tf32=tf32)
    if can_be_evaluated(file):
        return OwnTypesBackend(file, tf32=tf32)
    return OnnxBackend(file, provider="cpu")


def _named(source: Source, precision: str) -> str:
    return precision if source.name == FULL else f"{source.name}-{precision}"


def _gigaflops(source: Source, bench: Bench) -> float:
    return round(flops_of(source.network, bench.golden.shape[2:]) / 1e9, 3)


def _tolerance(
    logits: Float32[np.ndarray, "b k *patch"],
    reference: Float32[np.ndarray, "b k *patch"],
    task: Task,
) -> Tolerance:
    worst, mean = (SPREAD * error for error in probability_error(logits, reference, task))
    return Tolerance(
        worst=round(min(max(worst, LEAST_TOLERANCE), MOST_TOLERANCE), 4),
        mean=round(min(max(mean, LEAST_MEAN_TOLERANCE), MOST_MEAN_TOLERANCE), 5),
    )


def _run(
    network: Callable[[Float32[np.ndarray, "b c *patch"]], Float32[np.ndarray, "b k *patch"]],
    patches: Float32[np.ndarray, "b c *patch"],
) -> Float32[np.ndarray, "b k *patch"]:
    return np.concatenate([network(patch[None]) for patch in patches])


def _in_float(
    file: Path,
) -> Callable[[Float32[np.ndarray, "b c *patch"]], Float32[np.ndarray, "b k *patch"]]:
    """The rounded network without any integer arithmetic."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def run(patches: Float32[np.ndarray, "b c *patch"]) -> Float32[np.ndarray, "b k *patch"]:
        logits: Float32[np.ndarray, "b k *patch"] = session.run(None, {"patches": patches})[0]
        return logits

    return run
