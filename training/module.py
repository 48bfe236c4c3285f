"""The Lightning module: loss, optimiser, schedule. Letters: ``b`` batch, ``c`` channels."""

from typing import Any

import lightning.pytorch as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor

from seg.errors import SegError
from seg.networks import ResidualUNet
from training.clock import Clock, learning_rate_factor
from training.dataset.legend import IGNORE, Legend
from training.losses import dice_and_cross_entropy
from training.plan import Plan

LARGEST_GRADIENT_NORM = 12.0
"""Isensee et al., nnU-Net."""


class SegmentationModule(pl.LightningModule):
    """A residual U-Net that learns as its plan says, until its clock has run out."""

    def __init__(self, plan: Plan, legend: Legend, clock: Clock) -> None:
        super().__init__()
        self.plan = plan
        self.clock = clock
        self.network = ResidualUNet(plan.network_config(legend.outputs))
        self.loss = dice_and_cross_entropy(legend)
        self.legend = legend

    def forward(self, x: Float[Tensor, "b c *patch"]) -> Any:
        """Logits; in training with deep supervision a list of them, finest first."""
        return self.network(x)

    def training_step(
        self,
        batch: tuple[Float[Tensor, "b c *patch"], Int[Tensor, "b 1 *patch"]],
        batch_idx: int,
    ) -> dict[str, Tensor]:
        """Loss of a batch, and the foreground Dice of its hard labels for people to watch.

        Raises:
            SegError: the loss is not finite.
        """
        images, labels = batch
        logits = self(images)
        loss = self.loss(logits, labels.float())
        if not torch.isfinite(loss):
            raise SegError(
                f"the loss is no longer finite at step {self.global_step}; lower learning_rate in "
                "plan.yaml, or look for images with extreme intensities"
            )
        finest = logits[0] if isinstance(logits, list | tuple) else logits
        dice = self._foreground_dice(finest.detach(), labels[:, 0])
        self.log_dict(
            {"loss": loss.detach(), "dice": dice, "learning_rate": self._rate()}, on_step=True
        )
        return {"loss": loss, "dice": dice}

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Set the learning rate of this step."""
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self._rate()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW without decay of biases, norms and gates."""
        weights = [p for p in self.network.parameters() if p.ndim > 1]
        others = [p for p in self.network.parameters() if p.ndim <= 1]
        return torch.optim.AdamW(
            [
                {"params": weights, "weight_decay": self.plan.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=self.plan.learning_rate,
        )

    def _rate(self) -> float:
        progress = self.clock.progress(self.global_step)
        return self.plan.learning_rate * learning_rate_factor(progress, self.plan.warmup_share)

    def _foreground_dice(
        self, logits: Float[Tensor, "b k *patch"], labels: Int[Tensor, "b *patch"]
    ) -> Tensor:
        """Mean over the foreground classes that occur in prediction or labels."""
        overlapping = bool(self.legend.regions)
        chosen = logits > 0 if overlapping else logits.argmax(dim=1)
        annotated = labels != IGNORE
        scores = []
        for index in range(1, len(self.legend.classes)):
            p = (chosen[:, index - 1] if overlapping else chosen == index) & annotated
            r = torch.isin(labels, torch.tensor(self.legend.labels_of(index), device=labels.device))
            total = p.sum() + r.sum()
            if total:
                scores.append(2 * (p & r).sum() / total)
        return torch.stack(scores).mean() if scores else torch.tensor(float("nan"))
