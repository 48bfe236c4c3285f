"""Dice of foreground classes over all voxels of some patches together.

Letters: ``b`` patches, ``k`` channels of logits.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from training.dataset.legend import IGNORE, Legend


@torch.no_grad()
def pooled_dice(
    logits: Float[Tensor, "b k *patch"], labels: Int[Tensor, "b *patch"], legend: Legend
) -> float:
    """Mean over the classes; a class that occurs nowhere and is predicted nowhere counts 1."""
    truth = torch.from_numpy(legend.members())[labels].movedim(-1, 1)
    predicted = (
        logits > 0
        if legend.regions
        else nn.functional.one_hot(logits.argmax(dim=1), legend.outputs).movedim(-1, 1)[:, 1:] > 0
    )
    predicted = predicted & (labels != IGNORE)[:, None]
    scores = [_dice(*each) for each in zip(predicted.unbind(1), truth.unbind(1), strict=True)]
    return sum(scores) / len(scores)


def _dice(predicted: Bool[Tensor, "b *patch"], reference: Bool[Tensor, "b *patch"]) -> float:
    total = int(predicted.sum() + reference.sum())
    return 2 * int((predicted & reference).sum()) / total if total else 1.0
