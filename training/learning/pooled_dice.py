"""Dice of foreground classes over all voxels of some patches together.

Letters: ``b`` patches, ``k`` channels of logits.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from training.dataset.legend import IGNORE, Legend


class PooledDice(nn.Module):
    """Mean over the classes that occur in prediction or labels; NaN where none does.

    Nothing waits for the device. As in ``seg.metrics``, a class that is absent from both is left
    out: counted as 1 it would lift the mean, and with it whatever is chosen by the mean.
    """

    def __init__(self, legend: Legend) -> None:
        super().__init__()
        self.overlapping = bool(legend.regions)
        self.outputs = legend.outputs
        self.members: Tensor
        self.register_buffer("members", torch.from_numpy(legend.members()), persistent=False)

    @torch.no_grad()
    def forward(
        self, logits: Float[Tensor, "b k *patch"], labels: Int[Tensor, "b *patch"]
    ) -> Float[Tensor, ""]:
        """Return the mean Dice of hard labels; what is not annotated counts nothing."""
        truth = self.members.to(labels.device)[labels.long()].movedim(-1, 1)
        if self.overlapping:
            predicted = logits > 0
        else:
            shape = (1, -1, *[1] * (logits.ndim - 2))
            classes = torch.arange(1, self.outputs, device=logits.device).view(shape)
            # max: torch's argmax takes nine times as long over a few channels, 5 % of a small step
            predicted = logits.max(dim=1, keepdim=True).indices == classes
        predicted = predicted & (labels != IGNORE)[:, None]
        both, ours, theirs = (
            members.transpose(0, 1).flatten(1).sum(dim=1)
            for members in (predicted & truth, predicted, truth)
        )
        return (2 * both / (ours + theirs)).nanmean()
