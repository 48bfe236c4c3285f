"""The Lightning module: loss, optimiser, schedule. Letters: ``b`` batch, ``c`` channels."""

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from seg.errors import SegError
from seg.networks import SegmentationNetwork, make_network
from training.dataset.legend import Legend
from training.learning.compiled import begin_step
from training.learning.foreign_encoder import freeze_statistics, rate_of, weight_groups
from training.learning.gates import price, shares_of
from training.learning.losses import make_loss
from training.learning.objects import class_labels, class_logits, depth_loss
from training.learning.optimisers import OPTIMISERS
from training.learning.pooled_dice import PooledDice
from training.learning.teacher_loss import distillation_loss, finest_of
from training.run.clock import learning_rate_factor
from training.run.device import memory_format
from training.run.plan import Plan
from training.samples.augmentation import Augmentation
from training.samples.object_targets import learns_depths, learnt_legend, outputs_of
from training.samples.on_device import finished
from training.samples.patch_batches import Batch

STEPS_BETWEEN_LOOKS = 20
"""At whether the loss is finite, where a look waits for the device."""


class SegmentationModule(pl.LightningModule):
    """A residual U-Net that learns as its plan says."""

    def __init__(
        self,
        plan: Plan,
        legend: Legend,
        processes: int = 1,
        teacher: SegmentationNetwork | None = None,
    ) -> None:
        super().__init__()
        # in a tuple, so that its weights are no part of this module
        self._teachers = () if teacher is None else (teacher.eval(),)
        self.plan = plan
        self.network = make_network(plan.network_config(outputs_of(legend, plan.instances))).to(
            memory_format=memory_format(plan)
        )
        self.loss = make_loss(
            learnt_legend(legend, plan), plan.loss, plan.class_weights, shared=processes > 1
        )
        self.legend = legend
        self.dice = PooledDice(legend)
        self.shares = shares_of(self.network, plan.patch) if plan.compute_penalty else {}
        """Of the operations, behind each gate."""
        self.progress = 0.0
        """Share of the training that is done; ``callbacks.StopInTime`` keeps it."""
        self.augmentation: Augmentation | None = None
        """Whose changes are made here, where the plan augments on the device."""

        self._finite: Tensor | None = None
        """Whether all losses since the last look were."""
        self._noted = 0

    def forward(self, x: Float[Tensor, "b c *patch"]) -> Any:
        """Logits; in training with deep supervision a list of them, finest first."""
        return self.network(x)

    def training_step(
        self,
        batch: Batch,
        batch_idx: int,
    ) -> dict[str, Tensor]:
        """Loss of a batch, and the foreground Dice of its hard labels for people to watch.

        What the host has only begun of the batch is finished first.

        Raises:
            SegError: the loss is not finite.
        """
        begin_step(self.plan)
        images, labels = self.finish(batch)
        images = images.contiguous(memory_format=memory_format(self.plan))
        self.loss.loss.progress = self.progress
        with self.network.skipping(self._skipped()):
            logits = self(images)
        loss = self.loss(logits, labels.float())
        if learns_depths(self.plan):
            loss = loss + depth_loss(finest_of(logits), labels, self.legend, self.plan)
        if self.plan.compute_penalty:
            # rises with the training: gates of blocks start closed and must be able to open
            rate = self.plan.compute_penalty * self.progress
            loss = loss + rate * price(self.network, self.shares)
        for teacher in self._teachers:
            votes = learnt_legend(self.legend, self.plan).outputs
            loss = loss + distillation_loss(finest_of(logits), teacher, images, self.legend, votes)
        self._note(loss.detach())
        said = class_logits(finest_of(logits).detach(), self.legend, self.plan)
        dice = self.dice(said, class_labels(labels[:, 0], self.legend, self.plan))
        # filled there: Lightning would copy a number of the host, and wait for that
        rate = loss.new_full((), self._rate())
        self.log_dict({"loss": loss.detach(), "dice": dice, "learning_rate": rate}, on_step=True)
        return {"loss": loss, "dice": dice}

    def finish(
        self, batch: Batch
    ) -> tuple[Float[Tensor, "b c *patch"], Int[Tensor, "b planes *patch"]]:
        """Images and labels, with the changes of patches made that are left to this device."""
        if self.augmentation is None:  # the trainer gives it where the plan says so
            images, labels = batch
            return images, labels
        with torch.no_grad():
            return finished(batch, self.augmentation)

    def _skipped(self) -> Sequence[str]:
        """Blocks that this step does without: none, or some at random in every other late step.

        Source: the sandwich rule of Yu & Huang, Universally Slimmable Networks, ICCV 2019, with
        blocks in place of channels, and full and shallow in turn.
        """
        if self.global_step % 2 == 0 or self.progress < 1 - self.plan.sandwich_share:
            return ()
        blocks = self.network.droppable_blocks(reshaping=True)
        count = int(torch.randint(1, len(blocks) + 1, ())) if blocks else 0
        return [blocks[i] for i in torch.randperm(len(blocks))[:count].tolist()]

    def on_train_start(self) -> None:
        """Lightning trains in the modes that it finds."""
        self.train()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Set the learning rate of this step, and what chance there is in the network.

        Both follow from the step alone, so that a run that is resumed goes on as it would have.
        """
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self._rate() * rate_of(group, self.plan, self.progress)
        place = (self.plan.seed, self.global_step, batch_idx % self.plan.accumulate)
        sequence = np.random.SeedSequence((*place, self.global_rank))
        torch.manual_seed(int(sequence.generate_state(1)[0]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The plan's optimiser, without decay of biases, norms and gates."""
        groups = weight_groups(self.network, self.plan)
        return OPTIMISERS[self.plan.optimiser](groups, lr=self.plan.learning_rate)

    def train(self, mode: bool = True) -> "SegmentationModule":
        """Set the mode; a pretrained encoder may keep the statistics that it came with."""
        super().train(mode)
        if mode and self.plan.frozen_statistics:
            freeze_statistics(self.network)
        return self

    def _rate(self) -> float:
        plan = self.plan
        factor = learning_rate_factor(self.progress, plan.warmup_share, plan.schedule)
        return plan.learning_rate * factor

    def _note(self, loss: Tensor) -> None:
        """Look whether the loss is finite: on a CPU now, elsewhere now and then."""
        finite = torch.isfinite(loss)
        self._finite = finite if self._finite is None else self._finite & finite
        self._noted += 1
        if loss.device.type == "cpu" or self._noted % STEPS_BETWEEN_LOOKS == 0:
            self.check_finite()

    def check_finite(self) -> None:
        """Wait for the device, and make sure that all losses were finite.

        Raises:
            SegError: one was not.
        """
        if self._finite is not None and not self._finite:
            raise SegError(self._why_not_finite())
        self._finite = None

    def _why_not_finite(self) -> str:
        remedy = "lower learning_rate in plan.yaml, or look for images with extreme intensities"
        if self.plan.precision == "float16":
            remedy = "set precision to bfloat16 or float32 in plan.yaml: float16 ends at 65504"
        return (
            f"the loss is no longer finite at step {self.global_step}; {remedy}; the last "
            "checkpoint is from before"
        )
