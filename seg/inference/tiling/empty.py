"""Windows that show nothing but air or glass. Letters: ``c`` channels."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float32

from seg.model_package import Empty, Task
from seg.transforms import Scaling

BACKGROUND_LOGIT = 10.0
"""A probability of 0.99995 for background, where the network was not asked."""


def emptiness(
    rule: Empty, scalings: Sequence[Scaling]
) -> Callable[[Float32[np.ndarray, "c *part"]], bool]:
    """Whether all voxels of a part lie beyond the rule's limits, in every channel.

    The limits are brought to the network's range, which keeps the order of intensities.
    """
    limits = np.array(
        [
            scaling.apply(np.array([limit]))[0]
            for limit, scaling in zip(rule.limits, scalings, strict=True)
        ]
    )

    def is_empty(part: Float32[np.ndarray, "c *part"]) -> bool:
        of_channels = part.reshape(len(part), -1)
        if rule.side == "below":
            return bool((of_channels.max(axis=1) <= limits).all())
        return bool((of_channels.min(axis=1) >= limits).all())

    return is_empty


def background_logits(
    outputs: int, task: Task, votes: int | None = None
) -> Float32[np.ndarray, " k"]:
    """Logits that say background; channels from ``votes`` on, which are no logits, are 0."""
    logits = np.full(outputs, -BACKGROUND_LOGIT, np.float32)
    if task == "exclusive":
        logits[0] = BACKGROUND_LOGIT
    logits[outputs if votes is None else votes :] = 0
    return logits
