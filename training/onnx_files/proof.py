"""Proof that an ONNX file says what the network said."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from torch import nn

from seg.errors import BackendError
from seg.files import sha256_of
from seg.inference import Backend, OnnxBackend
from seg.inference.labels.decision import probability_error
from seg.model_package import PROBABILITY_TOLERANCE, GoldenSamples, Task, Variant, write_golden
from seg.networks import SegmentationNetwork
from training.onnx_files.write import SAMPLES_A_BATCH, write_onnx

FULL = "full"


@dataclass(frozen=True)
class Proof:
    """What was exported, and how near it is to the network."""

    variant: Variant
    golden_sha256: str
    error: float
    """Largest absolute error of a probability on the golden samples."""


def export_variant(
    network: SegmentationNetwork,
    patches: Float32[np.ndarray, "b c *patch"],
    folder: Path,
    task: Task = "exclusive",
) -> Proof:
    """Write the network as float32 ONNX and the golden samples into ``folder``, and compare.

    Args:
        network: trained, on any device.
        patches: real validation patches, preprocessed.
        folder: the package that is being filled.
        task: says which probabilities the logits stand for.

    Raises:
        BackendError: onnxruntime's probabilities differ from the network's by more than 1e-4.
    """
    network = network.cpu().float().eval()
    logits = reference_logits(network, patches)
    file = folder / f"{FULL}.onnx"
    write_onnx(network, patches[:SAMPLES_A_BATCH], file)
    error = proven(file, GoldenSamples(patches, logits), task)
    variant = Variant(name=FULL, file=file.name, sha256=sha256_of(file))
    return Proof(variant, write_golden(folder, GoldenSamples(patches, logits)), error)


def proven(file: Path, golden: GoldenSamples, task: Task) -> float:
    """Largest absolute error of a probability that the ONNX file gives.

    Raises:
        BackendError: it is above the tolerance.
    """
    error = disagreement(file, golden, task)
    if not error <= PROBABILITY_TOLERANCE:
        raise BackendError(
            f"the exported network disagrees with the trained one: probabilities differ by "
            f"{error:.2g}, allowed are {PROBABILITY_TOLERANCE:.0e}; nothing was written"
        )
    return error


def reference_logits(
    network: nn.Module, patches: Float32[np.ndarray, "b c *patch"]
) -> Float32[np.ndarray, "b k *patch"]:
    """What the network itself says, one patch at a time."""
    with torch.inference_mode():
        return np.concatenate([network(torch.from_numpy(p[None])).numpy() for p in patches])


def milliseconds_per_patch(
    backend: Backend, patches: Float32[np.ndarray, "b c *patch"], repeats: int = 3
) -> float:
    """Median time of one run, per patch."""
    batch = np.ascontiguousarray(patches[: backend.batch_size])
    seconds = []
    for _ in range(1 + repeats):
        start = time.perf_counter()
        backend.run(batch)
        seconds.append(time.perf_counter() - start)
    return 1000 * float(np.median(seconds[1:])) / len(batch)


def disagreement(file: Path, golden: GoldenSamples, task: Task) -> float:
    """Worst probability error of an ONNX file, patches alone and together in one batch."""
    backend = OnnxBackend(file, provider="cpu")
    alone = np.concatenate([backend.run(p[None]) for p in golden.patches])
    together = backend.run(golden.patches)
    return max(probability_error(each, golden.logits, task).worst for each in (alone, together))
