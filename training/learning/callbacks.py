"""What happens beside the training steps: the end in time, checkpoints, and the bar."""

import math
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from training.learning.module import SegmentationModule
from training.learning.watch import Watch, is_step
from training.run.clock import Clock
from training.run.folder import RunFolder
from training.run.origin import origin_of
from training.run.processes import World

CHECKPOINT_FILE = "checkpoint.ckpt"
ORIGIN = "origin"
"""Of what is noted of the training, in a checkpoint."""
SMOOTHING = 0.95
"""Of the loss and Dice that the bar shows."""
SECONDS_BETWEEN_READS = 1.0
"""Of them, from a device that does not wait for this program otherwise."""


class StopInTime(Callback):
    """Ends the training when the clock has run out or a user asks for it.

    All processes count the same progress and stop after the same step. A request to stop waits
    for the end of a step: in the midst of one it may be lost in a callback of C code.
    """

    def __init__(self, clock: Clock, world: World) -> None:
        self.clock = clock
        self.world = world

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the requests to stop over from Lightning, which gives them back at the end."""
        for request in (signal.SIGINT, signal.SIGTERM):
            signal.signal(request, lambda *_: self.clock.ask_to_stop())
        self._look(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *batch: Any
    ) -> None:
        """Look at the clock after each step."""
        if is_step(trainer, batch[-1]):
            self._look(trainer, pl_module)

    def _look(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert isinstance(module, SegmentationModule)
        progress, stop = self.world.agreed(
            self.clock.progress(trainer.global_step), float(self.clock.stop_asked)
        )
        module.progress = progress
        self.clock.stop_asked = bool(stop)
        if stop or progress >= 1:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """Seconds spent so far."""
        return {"spent_s": self.clock.elapsed_s()}


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that are written whole or not at all, beside the one that they replace."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write beside ``path``, then take its place.

        Raises:
            OSError: the disk is full, or not there; what was at ``path`` still is.
        """
        beside = Path(path).with_suffix(".part")
        try:
            with beside.open("wb") as file:
                torch.save(checkpoint, file)
            beside.replace(path)
        except RuntimeError as error:  # torch's zip writer, when a write fails beneath it
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise
        finally:
            beside.unlink(missing_ok=True)


class Checkpoint(Callback):
    """Writes one checkpoint every so often, and at the end."""

    def __init__(self, folder: Path, seconds: float, world: World) -> None:
        self.path = folder / CHECKPOINT_FILE
        self.seconds = seconds
        self.world = world
        self._last = time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *batch: Any
    ) -> None:
        """Write where it is time, or where this was the last step."""
        if not is_step(trainer, batch[-1]):
            return
        (waited,) = self.world.agreed(time.monotonic() - self._last)
        if waited >= self.seconds or trainer.should_stop:
            assert isinstance(pl_module, SegmentationModule)
            pl_module.check_finite()  # a checkpoint is never from after
            trainer.save_checkpoint(self.path)
            self._last = time.monotonic()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note what is trained."""
        assert isinstance(pl_module, SegmentationModule)
        checkpoint[ORIGIN] = origin_of(pl_module.plan, RunFolder(self.path.parent))


class Bar(Callback):
    """A bar of the budget with step, loss, Dice and steps a second; the time left is its own."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self._shown: dict[str, float] = {}
        self._read_at = -math.inf

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the bar."""
        assert isinstance(pl_module, SegmentationModule)
        self._first = trainer.global_step
        self._begun = time.monotonic()
        interactive = sys.stderr.isatty()
        self._bar = tqdm(
            total=100,
            desc="training",
            bar_format="{desc} {percentage:3.0f}% |{bar:24}| {elapsed}<{remaining}{postfix}",
            mininterval=0.2 if interactive else 15,
            initial=100 * pl_module.progress,
            disable=not trainer.is_global_zero,
        )
        self._shares_the_terminal = ExitStack()  # else a line of the log goes on where the bar ends
        self._shares_the_terminal.enter_context(logging_redirect_tqdm())
        self._shares_the_terminal.callback(self._bar.close)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Move the bar."""
        assert isinstance(pl_module, SegmentationModule)
        for name in ("loss", "dice") if self._may_wait(outputs["loss"]) else ():
            new = float(outputs[name])
            if not math.isnan(new):
                old = self._shown.get(name, new)
                self._shown[name] = SMOOTHING * old + (1 - SMOOTHING) * new
        shown = self._shown | ({} if self.watch.dice is None else {"val": self.watch.dice})
        steps = trainer.global_step - self._first
        rate = steps / (time.monotonic() - self._begun)
        texts = {name: f"{value:.3f}" for name, value in shown.items()}
        self._bar.set_postfix(
            {"step": trainer.global_step, **texts, "steps/s": f"{rate:.1f}"}, refresh=False
        )
        self._bar.update(100 * pl_module.progress - self._bar.n)

    def _may_wait(self, value: torch.Tensor) -> bool:
        """Whether to read a value: one of a device, which must be waited for, now and then."""
        now = time.monotonic()
        if value.device.type != "cpu" and now - self._read_at < SECONDS_BETWEEN_READS:
            return False
        self._read_at = now
        return True

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar."""
        self._shares_the_terminal.close()

    def on_exception(self, trainer: pl.Trainer, *_: Any) -> None:
        """Close the bar, so that a message stands on a line of its own."""
        if hasattr(self, "_bar"):
            self._shares_the_terminal.close()
