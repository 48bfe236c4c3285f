# mypy: disable-error-code=no-untyped-call
# torch does not type backward().
"""One small training, the same for every network of a study.

Plain stochastic gradient descent, as the papers have it: an optimiser that scales every weight's
step by itself hides a part of what shortcuts do. Letters: ``b`` batch, ``c`` channels.
"""

from collections.abc import Callable

import torch
from torch import nn

from training.dataset.legend import Legend
from training.learning.pooled_dice import PooledDice
from training.studies.setting import Setting
from training.studies.task import Batch, Loss, Task

LARGEST_GRADIENT = 12.0
"""Norm; Isensee et al., nnU-Net."""
MOMENTUM, WEIGHT_DECAY = 0.9, 1e-4
"""He et al., Deep Residual Learning, section 4.2."""
WARMUP_STEPS = 10
LAST_STEPS = 20
"""Whose mean is the final loss."""

Watch = Callable[[int, nn.Module], None]


def learn(
    network: nn.Module, task: Task, setting: Setting, seed: int, watch: Watch | None = None
) -> list[float]:
    """Train in place; the loss of every step.

    Args:
        network: with fresh weights.
        task: what to learn.
        setting: steps and rate; the rate falls to 0 with the power 0.9.
        seed: of the patches.
        watch: called with the steps done before each step, and after the last.
    """
    loss_of = task.loss
    optimiser = torch.optim.SGD(
        network.parameters(),
        lr=setting.learning_rate,
        momentum=MOMENTUM,
        nesterov=True,
        weight_decay=WEIGHT_DECAY,
    )
    batches = task.batches(seed)
    losses = []
    network.train()
    for step in range(setting.steps):
        if watch:
            watch(step, network)
        rise = min(1.0, (step + 1) / WARMUP_STEPS)
        for group in optimiser.param_groups:
            group["lr"] = setting.learning_rate * rise * (1 - step / setting.steps) ** 0.9
        images, labels = batches.batch(step)
        loss = loss_of(network(images), labels.float())
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
        optimiser.step()
        losses.append(loss.item())
    if watch:
        watch(setting.steps, network)
    network.eval()
    return losses


def final_loss(losses: list[float]) -> float:
    """Mean over the last steps, since one batch says little."""
    last = losses[-LAST_STEPS:]
    return sum(last) / len(last)


@torch.no_grad()
def dice_on(network: nn.Module, batch: Batch, legend: Legend) -> float:
    """Dice of the foreground classes that occur, over all patches together, their mean."""
    images, labels = batch
    network.eval()
    return float(PooledDice(legend)(network(images), labels[:, 0]))


@torch.no_grad()
def loss_on(network: nn.Module, batch: Batch, loss: Loss) -> float:
    """The loss on patches, without learning."""
    images, labels = batch
    network.eval()
    return float(loss(network(images), labels.float()))
