"""A small network learns from what a large one says, beside the labels.

Source: Hinton et al., Distilling the Knowledge in a Neural Network, 2015; here at the temperature
1, voxel by voxel. Letters: ``b`` batch, ``c`` channels, ``k`` channels of logits.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from seg.networks import SegmentationNetwork
from training.dataset.legend import Legend

WEIGHT = 1.0
"""Of what the teacher says, beside the loss of the labels."""


def distillation_loss(
    logits: Float[Tensor, "b k *patch"],
    teacher: SegmentationNetwork,
    images: Float[Tensor, "b c *patch"],
    legend: Legend,
    votes: int | None = None,
) -> Float[Tensor, ""]:
    """Cross-entropy with the teacher's probabilities, a mean over voxels.

    Of the channels the first ``votes`` are logits of classes; None for all.
    """
    with torch.no_grad():
        said = teacher.to(images.device)(images)
    # behind these lie depths within objects, which are no logits
    said, logits = said[:, :votes].float(), logits[:, :votes].float()
    if legend.regions:
        cost = functional.binary_cross_entropy_with_logits(logits, said.sigmoid())
    else:
        cost = functional.cross_entropy(logits, said.softmax(dim=1))
    return WEIGHT * cost


def finest_of(logits: Tensor | Sequence[Tensor]) -> Tensor:
    """What a network says at full resolution; with deep supervision the first of a list."""
    return logits if isinstance(logits, Tensor) else logits[0]
