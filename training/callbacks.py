"""What happens beside the training steps: the end in time, checkpoints, and the bar."""

import math
import sys
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, WeightAveraging
from tqdm import tqdm

from training.clock import Clock

CHECKPOINT_FILE = "checkpoint.ckpt"
SMOOTHING = 0.95
"""Of the loss and Dice that the bar shows."""


class MovingAverage(WeightAveraging):
    """Exponential moving average of the weights, short while there are few steps to average."""

    def __init__(self, decay: float) -> None:
        def average(old: torch.Tensor, new: torch.Tensor, updates: torch.Tensor) -> torch.Tensor:
            weight = torch.clamp((updates + 1) / (updates + 10), max=decay)
            return old + (1 - weight) * (new - old)

        super().__init__(avg_fn=average)


class StopInTime(Callback):
    """Ends the training when the clock has run out, and writes its time into checkpoints."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Stop after this step where the budget is used up, or where a user asks for it."""
        if self.clock.stop_asked:
            raise KeyboardInterrupt
        if self.clock.progress(trainer.global_step) >= 1:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """Seconds spent so far."""
        return {"spent_s": self.clock.elapsed_s()}


class Checkpoint(Callback):
    """Writes one checkpoint every so often, whole or not at all."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self.path = folder / CHECKPOINT_FILE
        self.seconds = seconds
        self._last = time.monotonic()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Write where it is time, or where this was the last step."""
        now = time.monotonic()
        if now - self._last < self.seconds and not trainer.should_stop:
            return
        beside = self.path.with_suffix(".part")
        trainer.save_checkpoint(beside)
        beside.replace(self.path)
        self._last = time.monotonic()


class Bar(Callback):
    """A bar of the budget with loss, Dice and steps a second; the time left is its own."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._shown: dict[str, float] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the bar."""
        self._first = trainer.global_step
        self._begun = time.monotonic()
        interactive = sys.stderr.isatty()
        self._bar = tqdm(
            total=100,
            desc="training",
            bar_format="{desc} {percentage:3.0f}% |{bar:24}| {elapsed}<{remaining}{postfix}",
            mininterval=0.2 if interactive else 15,
            initial=100 * self.clock.progress(trainer.global_step),
        )

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Move the bar."""
        for name in ("loss", "dice"):
            new = float(outputs[name])
            if not math.isnan(new):
                old = self._shown.get(name, new)
                self._shown[name] = SMOOTHING * old + (1 - SMOOTHING) * new
        steps = trainer.global_step - self._first
        rate = steps / (time.monotonic() - self._begun)
        shown = {name: f"{value:.3f}" for name, value in self._shown.items()}
        self._bar.set_postfix(
            {"step": trainer.global_step, **shown, "steps/s": f"{rate:.1f}"}, refresh=False
        )
        self._bar.update(100 * self.clock.progress(trainer.global_step) - self._bar.n)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar."""
        self._bar.close()
