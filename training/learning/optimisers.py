"""Optimisers by name."""

from collections.abc import Callable
from typing import Any

import torch

MOMENTUM = 0.99
"""Isensee et al., nnU-Net."""


Optimiser = Callable[..., torch.optim.Optimizer]


def _sgd(groups: list[dict[str, Any]], lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=lr, momentum=MOMENTUM, nesterov=True)


OPTIMISERS: dict[str, Optimiser] = {"adamw": torch.optim.AdamW, "sgd": _sgd}
