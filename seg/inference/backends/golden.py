"""Whether this machine says what the trained network said."""

import numpy as np

from seg.errors import BackendError
from seg.inference.backends.onnx import Backend
from seg.inference.labels.decision import probability_error
from seg.model_package import GoldenSamples, ModelPackage, Task, Tolerance


def verify_golden(package: ModelPackage, backend: Backend, variant: str | None = None) -> float:
    """Largest absolute error of probabilities on the package's golden samples.

    Raises:
        BackendError: it is above the tolerance, so this machine would give other masks.
    """
    card = package.card
    return agreement(backend, package.golden(variant), card.task, card.tolerance(variant))


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
    size = backend.batch_size  # which falls where memory runs out
    steps = range(0, len(golden.patches), size)
    logits = np.concatenate([backend.run(golden.patches[i : i + size]) for i in steps])
    worst, mean = probability_error(logits, golden.logits, task)
    allowed = {"": (worst, tolerance.worst), " on average": (mean, tolerance.mean)}
    for how, (error, limit) in allowed.items():
        if not error <= limit:
            raise BackendError(
                f"{backend.provider} disagrees with the package's golden samples: probabilities "
                f"differ{how} by {error:.2g}, allowed are {limit:.0e}"
            )
    return worst
