"""The loss: Dice and cross-entropy, at every resolution that the network answers in.

Voxels that nobody annotated (``IGNORE``) count in neither. Letters: ``b`` batch, ``k`` channels.
"""

import torch
from jaxtyping import Float
from monai.losses import DeepSupervisionLoss, DiceCELoss, DiceLoss
from torch import Tensor, nn
from torch.nn import functional

from training.dataset.legend import IGNORE, Legend

SMOOTH = 1e-5


def dice_and_cross_entropy(legend: Legend) -> DeepSupervisionLoss:
    """Batch Dice over the foreground classes plus cross-entropy, halved a level of resolution.

    Where classes overlap, each is a question of its own: sigmoid and binary cross-entropy.

    Source: Isensee et al., nnU-Net, Nature Methods 18 (2021).
    """
    loss: nn.Module
    if legend.regions:
        loss = _OverlappingClasses(legend)
    elif legend.ignores:
        loss = _PartlyAnnotated()
    else:
        loss = DiceCELoss(
            to_onehot_y=True, softmax=True, include_background=False, batch=True,
            smooth_nr=SMOOTH, smooth_dr=SMOOTH,
        )  # fmt: skip
    return DeepSupervisionLoss(loss, weight_mode="exp")


class _PartlyAnnotated(nn.Module):
    """One class a voxel, some voxels without."""

    def __init__(self) -> None:
        super().__init__()
        self.dice = DiceLoss(
            to_onehot_y=True, softmax=True, include_background=False, batch=True,
            smooth_nr=SMOOTH, smooth_dr=SMOOTH, ignore_index=IGNORE,
        )  # fmt: skip

    def forward(
        self, logits: Float[Tensor, "b k *patch"], labels: Float[Tensor, "b 1 *patch"]
    ) -> Float[Tensor, ""]:
        targets = labels[:, 0].long()
        entropy = functional.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="none")
        overlap: Tensor = self.dice(logits, labels)
        return overlap + _mean(entropy[:, None], labels != IGNORE)


class _OverlappingClasses(nn.Module):
    """Any number of classes a voxel."""

    def __init__(self, legend: Legend) -> None:
        super().__init__()
        self.dice = DiceLoss(batch=True, smooth_nr=SMOOTH, smooth_dr=SMOOTH)
        # no buffer, which the moving average of the weights would average
        self.members = torch.from_numpy(legend.members())

    def forward(
        self, logits: Float[Tensor, "b k *patch"], labels: Float[Tensor, "b 1 *patch"]
    ) -> Float[Tensor, ""]:
        targets = self.members.to(labels.device)[labels[:, 0].long()].movedim(-1, 1).to(logits)
        annotated = labels != IGNORE
        entropy = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        # neither a hit nor a miss: no probability and, as no class has IGNORE, no target
        overlap: Tensor = self.dice(logits.sigmoid() * annotated, targets)
        return overlap + _mean(entropy, annotated)


def _mean(
    values: Float[Tensor, "b k *patch"], annotated: Float[Tensor, "b 1 *patch"]
) -> Float[Tensor, ""]:
    """Over the annotated voxels; 0 where there is none."""
    count = annotated.sum().clamp(min=1) * values.shape[1]
    return (values * annotated).sum() / count
