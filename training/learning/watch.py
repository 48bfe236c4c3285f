"""How well the network does on held-back patches, while it trains: a number and a picture.

Nothing is chosen by it: the scores of a run are those of whole images, at its end. Letters: ``b``
batch, ``c`` channels.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import imagecodecs
import lightning.pytorch as pl
import numpy as np
import torch
from jaxtyping import Float32, UInt8
from lightning.pytorch.callbacks import Callback, WeightAveraging
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from seg.files import replace_file
from seg.images import ClassInfo
from seg.images.pictures.overlay import as_rgb, blend_colours, fullest_slice
from seg.inference.labels.decision import labels_of
from training.dataset import Dataset
from training.dataset.legend import IGNORE
from training.learning.module import SegmentationModule
from training.learning.objects import class_logits
from training.learning.outlook import MARKS, Outlook, outlook_of
from training.samples.held_back import HeldBack, held_back_patches

log = logging.getLogger("training")

WATCHED_PATCHES = 4
SHARE_OF_TIME = 0.01
"""Of the training that looking may take."""
LEAST_SECONDS = 10.0
"""Between two looks."""
PICTURES = 20
"""That a training leaves."""
PICTURE_FOLDER = "pictures"


_Tensors = tuple[Tensor, ...] | list[Tensor]
_Averaging = Callable[[_Tensors, _Tensors, Tensor | int], None]
"""Old averages, which change, new values, and how many there were before."""


class _Average(AveragedModel):
    """Counts its updates on the host: a counter on a card would be waited for at every step."""

    def __init__(self, model: torch.nn.Module, device: torch.device, average: _Averaging) -> None:
        super().__init__(model, device, multi_avg_fn=average)
        self._averaging = average
        self.n_averaged = torch.tensor(0)

    def update_parameters(self, model: torch.nn.Module) -> None:
        """Take a step's weights and buffers in, all of a kind with one call of the device."""
        pairs = list(zip(_tensors(self.module), _tensors(model), strict=True))
        first = not self.n_averaged
        averaged = [] if first else [pair for pair in pairs if pair[0].is_floating_point()]
        copied = pairs if first else [pair for pair in pairs if not pair[0].is_floating_point()]
        with torch.no_grad():
            if averaged:
                olds, news = zip(*averaged, strict=True)
                self._averaging(olds, news, self.n_averaged)
            if copied:
                olds, news = zip(*copied, strict=True)
                torch._foreach_copy_(olds, news)
        self.n_averaged += 1


def _tensors(module: torch.nn.Module) -> Iterator[Tensor]:
    return (tensor.detach() for tensor in chain(module.parameters(), module.buffers()))


class MovingAverage(WeightAveraging):
    """Exponential moving average of the weights, short while there are few steps to average.

    It lies where the network trains. Lightning sets callbacks up before it moves the network to
    its device, so that the average is made when the training starts.
    """

    def __init__(self, decay: float) -> None:
        super().__init__()
        self._decay = decay
        self._saved: dict[str, Any] | None = None
        """What a checkpoint says of the average, until there is one."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Nothing yet: the network lies on the host."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin with the network's weights, or go on with those of the checkpoint."""

        def average(old: _Tensors, new: _Tensors, updates: Tensor | int) -> None:
            count = int(updates)
            torch._foreach_lerp_(old, new, 1 - min((count + 1) / (count + 10), self._decay))

        self._average_model = _Average(pl_module, trainer.strategy.root_device, average)
        if self._saved is not None:
            self._average_model.load_state_dict(self._saved)
            self._saved = None

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the average for later; the network goes on with its own weights."""
        averaged = {f"module.{name}": value for name, value in checkpoint["state_dict"].items()}
        self._saved = averaged | checkpoint["averaging_state"]
        pl_module.load_state_dict(checkpoint["current_model_state"])

    @property
    def module(self) -> SegmentationModule:
        """What trains, with averaged weights; while a training runs."""
        assert self._average_model is not None
        module = self._average_model.module
        assert isinstance(module, SegmentationModule)
        return module


def is_step(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Whether the weights were changed after this batch, not only gradients added up."""
    return (batch_idx + 1) % trainer.accumulate_grad_batches == 0


class Watch(Callback):
    """Now and then the Dice of the averaged weights on held-back patches, and a picture."""

    def __init__(self, average: MovingAverage, dataset: Dataset, folder: Path) -> None:
        self.average = average
        self.dataset = dataset
        self.folder = folder / PICTURE_FOLDER
        self.dice: float | None = None
        """Of the last look."""
        self.outlook: Outlook | None = None
        """Of the end of the training, once a third of it is over and that can be told."""
        self._looks: list[tuple[float, float]] = []
        self._held_back: HeldBack | None = None
        self._looked = time.monotonic()
        self._took = 0.0
        self._drawn = -1

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *batch: Any
    ) -> None:
        """Look where it is time, and at the end."""
        if not trainer.is_global_zero or not is_step(trainer, batch[-1]):
            return
        now = time.monotonic()
        pause = max(LEAST_SECONDS, self._took / SHARE_OF_TIME)
        assert isinstance(pl_module, SegmentationModule)
        is_marked = self._passes_mark(pl_module.progress)
        if now - self._looked < pause and not is_marked and not trainer.should_stop:
            return
        if self._held_back is None:  # read once, which does not make later looks rarer
            self._held_back = held_back_patches(self.dataset, pl_module.plan, WATCHED_PATCHES)
            now = time.monotonic()
        self._look(trainer, self._held_back, pl_module.progress)
        self._looked = time.monotonic()
        self._took = self._looked - now

    def _look(self, trainer: pl.Trainer, patches: HeldBack, progress: float) -> None:
        module = self.average.module
        logits = class_logits(_logits(trainer, module, patches), self.dataset.legend, module.plan)
        labels = torch.from_numpy(patches.labels.astype(np.int64))
        dice = float(module.dice(logits, labels))
        self.dice = None if math.isnan(dice) else dice
        self._look_ahead(progress, dice, trainer)
        for logger in trainer.loggers:
            logger.log_metrics({"validation_dice": dice}, trainer.global_step)
        if int(progress * PICTURES) > self._drawn:
            self._drawn = int(progress * PICTURES)
            self._draw(trainer, patches, logits.numpy())

    def _passes_mark(self, progress: float) -> bool:
        """Whether one of the first part's looks is due."""
        last = self._looks[-1][0] if self._looks else 0.0
        return any(last < mark <= progress for mark in MARKS)

    def _look_ahead(self, progress: float, dice: float, trainer: pl.Trainer) -> None:
        """Once, when the first part is over: where it is going."""
        before = self._looks[-1][0] if self._looks else 0.0
        self._looks.append((progress, dice))
        if before < MARKS[-1] <= progress < 1:
            self.outlook = outlook_of(self._looks, trainer.global_step)
            if self.outlook is None:
                log.info("outlook   the first third does not tell where the training will end")
                return
            log.info(
                "outlook   Dice of the watched patches at the end: %.3f (%.3f to %.3f), by the "
                "first third",
                *self.outlook,
            )
        elif trainer.should_stop and self.outlook is not None and progress >= 1:
            log.info("outlook   was %.3f (%.3f to %.3f), reached %.3f", *self.outlook, dice)

    def _draw(
        self, trainer: pl.Trainer, patches: HeldBack, logits: Float32[np.ndarray, "b k *patch"]
    ) -> None:
        legend = self.dataset.legend
        rows = [
            _row(image, legend.painted(truth), labels_of(each, legend.task), legend.classes)
            for image, truth, each in zip(patches.images, patches.labels, logits, strict=True)
        ]
        picture = np.concatenate(rows)
        step = trainer.global_step
        replace_file(self.folder / f"step-{step:07d}.png", bytes(imagecodecs.png_encode(picture)))
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image("held back", picture, step, dataformats="HWC")


def _logits(
    trainer: pl.Trainer, module: SegmentationModule, patches: HeldBack
) -> Float32[Tensor, "b k *patch"]:
    was_training = module.training
    module.eval()
    with torch.inference_mode(), trainer.precision_plugin.forward_context():
        logits = [
            module(torch.from_numpy(image[None]).to(module.device)).float().cpu()
            for image in patches.images
        ]
    module.train(was_training)
    return torch.cat(logits)


def _row(
    image: Float32[np.ndarray, "c *patch"],
    reference: UInt8[np.ndarray, "*patch"],
    prediction: UInt8[np.ndarray, "*patch"],
    classes: Sequence[ClassInfo],
) -> UInt8[np.ndarray, "y x 3"]:
    """Image, reference and prediction beside each other; of a volume its fullest slice."""
    if reference.ndim == 3:
        z = fullest_slice(reference)
        image, reference, prediction = image[:, z], reference[z], prediction[z]
    picture = as_rgb(image)
    known = np.where(reference == IGNORE, np.uint8(0), reference)
    return np.concatenate(
        [
            picture,
            blend_colours(picture, known, classes),
            blend_colours(picture, prediction, classes),
        ],
        axis=1,
    )
