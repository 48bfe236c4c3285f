"""Proof that an ONNX file says what the network said."""

import time
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from torch import nn

from seg.errors import BackendError
from seg.inference import Backend, OnnxBackend
from seg.inference.labels.decision import probability_error
from seg.model_package import GoldenSamples, Task, Tolerance

FULL = "full"


def proven(
    file: Path,
    golden: GoldenSamples,
    task: Task,
    tolerance: Tolerance = Tolerance(),  # noqa: B008 - frozen
) -> float:
    """Largest absolute error of a probability that the ONNX file gives.

    Patches are asked alone, and together in one batch.

    Raises:
        BackendError: it, or the mean error, is above the tolerance.
    """
    backend = OnnxBackend(file, provider="cpu")
    alone = np.concatenate([backend.run(p[None]) for p in golden.patches])
    together = backend.run(golden.patches)
    errors = [probability_error(logits, golden.logits, task) for logits in (alone, together)]
    worst, mean = np.max(errors, axis=0)  # not a number wherever one of them is
    for how, error, limit in (("", worst, tolerance.worst), (" on average", mean, tolerance.mean)):
        if not error <= limit:
            raise BackendError(
                f"the exported network disagrees with the trained one: probabilities differ{how} "
                f"by {error:.2g}, allowed are {limit:.0e}; nothing was written"
            )
    return float(worst)


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
