"""What is learnt of objects beside their classes. Letters: ``b`` batch, ``k`` channels."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from training.dataset.legend import Legend
from training.run.plan import Plan
from training.samples.object_targets import FULL, learns_borders, learnt_legend

DEPTH_WEIGHT = 1.0
"""Of the depths, beside the loss of the classes."""


def depth_loss(
    logits: Float[Tensor, "b k *patch"],
    labels: Int[Tensor, "b planes *patch"],
    legend: Legend,
    plan: Plan,
) -> Float[Tensor, ""]:
    """Mean absolute error of the depth, within objects.

    Args:
        logits: all channels at full resolution; the depths come last, one a class.
        labels: classes with their borders, then depths in 255ths.
        legend: of the classes.
        plan: says what is learnt.
    """
    first = learnt_legend(legend, plan).outputs
    classes = class_labels(labels[:, 0], legend, plan)
    truth = labels[:, 1].to(logits) / FULL
    cost = logits.new_zeros(())
    count = logits.new_zeros(())
    for index in range(1, len(legend.classes)):
        inside = (classes == index).to(logits)
        error = functional.l1_loss(logits[:, first + index - 1], truth, reduction="none")
        cost = cost + (error * inside).sum()
        count = count + inside.sum()
    return DEPTH_WEIGHT * cost / count.clamp(min=1)


def class_logits(
    logits: Float[Tensor, "b k *patch"], legend: Legend, plan: Plan
) -> Float[Tensor, "b c *patch"]:
    """Logits of the classes alone; what a border has is its class's."""
    count = legend.outputs
    if not learns_borders(plan):
        return logits[:, :count]
    inner = torch.logaddexp(logits[:, 1:count], logits[:, count : 2 * count - 1])
    return torch.cat([logits[:, :1], inner], dim=1)


def class_labels(
    labels: Int[Tensor, "b *patch"], legend: Legend, plan: Plan
) -> Int[Tensor, "b *patch"]:
    """Labels of the classes alone."""
    if not learns_borders(plan):
        return labels
    count = len(legend.classes)
    is_border = (labels >= count) & (labels < 2 * count - 1)
    return torch.where(is_border, labels - (count - 1), labels)
