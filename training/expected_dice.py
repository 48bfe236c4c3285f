"""What Dice a training may be expected to reach; the numbers and their source: docs/planning.md.

Only the order of candidates matters here, not the value: data differ far more than plans do.
"""

import math
from collections.abc import Mapping

SLOPE, POWER = 36.0, 1.46
FLOORS: Mapping[str, float] = {
    "resunet-xs": 0.046,
    "resunet-s": 0.030,
    "resunet-m": 0.025,  # assumed, not measured
}
"""The error 1 - Dice that is left when a network has learnt all that it can."""
NOISE = 3.0
"""Patches: a step on so many is worth half of one on any number of them."""
ALIKE = 0.003
"""Expectations that are no further apart say nothing: seeds differ by more."""


def expected_dice(network: str, steps: float, batch_size: int) -> float:
    """Of a training of so many steps: ``1 - floor - SLOPE * progress ** -POWER``.

    Steps on few patches are noisy and worth less, as in McCandlish et al., An Empirical Model of
    Large-Batch Training (2018): of ``steps`` on ``n`` patches ``steps / (1 + noise / n)`` count.
    """
    progress = max(steps / (1 + NOISE / batch_size), 1.0)
    floor = FLOORS.get(network, min(FLOORS.values()))
    return max(0.0, 1 - floor - SLOPE * math.pow(progress, -POWER))
