"""Whether this machine says what the trained network said."""

import numpy as np

from seg.errors import BackendError
from seg.inference.backends import Backend
from seg.inference.decision import probability_error
from seg.model_package import PROBABILITY_TOLERANCE, GoldenSamples, ModelPackage, Task


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
    tolerance: float = PROBABILITY_TOLERANCE,
) -> float:
    """Largest absolute error of probabilities on some samples.

    Raises:
        BackendError: it is above the tolerance.
    """
    steps = range(0, len(golden.patches), backend.batch_size)
    logits = np.concatenate(
        [backend.run(golden.patches[i : i + backend.batch_size]) for i in steps]
    )
    worst = probability_error(logits, golden.logits, task)
    if not worst <= tolerance:
        raise BackendError(
            f"{backend.provider} disagrees with the package's golden samples: probabilities "
            f"differ by {worst:.2g}, allowed are {tolerance:.0e}"
        )
    return worst
