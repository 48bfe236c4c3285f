"""What Dice a training may be expected to reach; the numbers and their source: docs/planning.md.

Only the order of candidates matters here, not the value: data differ far more than plans do.
"""

import math
from collections.abc import Mapping, Sequence

SLOPE, POWER = 36.0, 1.46
LEFT, CONTEXT = 0.012, 0.032
"""Error that is left when a network has learnt all that it can, and how much more is left with
patches of ``EDGE`` voxels along an axis, which show little of what is around."""
EDGE = 96
OF_NETWORK: Mapping[str, float] = {"resunet-xs": 0.012, "resunet-s": 0.0, "resunet-m": -0.004}
"""What a network adds to that; assumed, not measured."""
NOISE = 3.0
"""Patches: a step on so many is worth half of one on any number of them."""
ALIKE = 0.0015
"""Expectations that are no further apart say nothing: seeds differ by more."""


def forecast_dice(network: str, steps: float, batch_size: int, patch: Sequence[int]) -> float:
    """Of a training of so many steps: ``1 - left - SLOPE * progress ** -POWER``.

    Steps on few patches are noisy and worth less, as in McCandlish et al., An Empirical Model of
    Large-Batch Training (2018): of ``steps`` on ``n`` patches ``steps / (1 + noise / n)`` count.
    """
    progress = max(steps / (1 + NOISE / batch_size), 1.0)
    edge = math.pow(math.prod(patch), 1 / len(patch))
    left = LEFT + CONTEXT * EDGE / edge + OF_NETWORK.get(network, 0.0)
    return max(0.0, 1 - left - SLOPE * math.pow(progress, -POWER))
