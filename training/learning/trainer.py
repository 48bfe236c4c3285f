"""From a plan and prepared cases to a trained network."""

import logging
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import lightning.pytorch as pl
from torch.utils.data import DataLoader

from seg.device_memory import lacks_memory
from seg.errors import ConfigError, SegError
from seg.networks import SegmentationNetwork
from training.dataset import Dataset
from training.learning.callbacks import (
    CHECKPOINT_FILE,
    Bar,
    Checkpoint,
    StopInTime,
    WholeCheckpoints,
)
from training.learning.checkpoint import TO_GO_ON, Trained, check_shapes, read_checkpoint
from training.learning.compiled import compiled_as_planned, not_compiled
from training.learning.fine_tuning import begin_with
from training.learning.foreign_encoder import begin_with_weights
from training.learning.module import STEPS_BETWEEN_LOOKS, SegmentationModule
from training.learning.tracking import loggers
from training.learning.watch import MovingAverage, Watch
from training.run.clock import Clock, enough_minutes
from training.run.device import Device, check_precision, using_threads, workers_of
from training.run.folder import RunFolder
from training.run.memory import give_back
from training.run.origin import check_origin
from training.run.plan import Plan
from training.run.safe_gradients import safe_gradients
from training.samples.augmentation import Augmentation
from training.samples.patch_batches import PatchBatches
from training.samples.prepared_cases import PreparedCase

log = logging.getLogger("training")

BATCHES_AHEAD = 4
"""Made by each of them while the network computes."""


STEPS_BETWEEN_LOGS = {"cpu": 5, "cuda": STEPS_BETWEEN_LOOKS}
"""A log waits for the device: on a card only where the loss is looked at anyway."""


PRECISIONS: dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "float32": "32-true",
    "bfloat16": "bf16-mixed",
    "float16": "16-mixed",
}


def train(  # noqa: PLR0913 - a teacher is the exception, not part of a plan
    plan: Plan,
    cases: Sequence[PreparedCase],
    dataset: Dataset,
    device: Device,
    folder: Path,
    clock: Clock,
    teacher: SegmentationNetwork | None = None,
) -> Trained:
    """Train until the clock has run out, going on from the folder's checkpoint if there is one.

    With a teacher the network learns from what that one says as well
    (``training.learning.teacher_loss``).
    All processes of ``device.world`` call this with the same plan and folder; the first writes.

    Raises:
        ConfigError: the device cannot train in the plan's precision, or the checkpoint is of
            another plan or of other data.
        SegError: the loss is no longer finite, or the checkpoint cannot be read.
        KeyboardInterrupt: a user asked to stop; a checkpoint of the last step is written.
    """
    check_precision(plan.precision, device)
    checkpoint = folder / CHECKPOINT_FILE
    saved = read_checkpoint(checkpoint, TO_GO_ON)
    if saved:
        check_origin(saved.origin, plan, RunFolder(folder))
        clock.spent_s = max(clock.spent_s, saved.seconds)
    pl.seed_everything(plan.seed, verbose=False)
    module = SegmentationModule(plan, dataset.legend, device.world.size, teacher)
    if saved:
        check_shapes(saved.averaged_weights, module, RunFolder(folder))
    if plan.start and saved is None:
        begin_with(module.network, plan.start, dataset, plan)
    elif plan.weights and saved is None:
        begin_with_weights(module.network, plan)
    if saved is None or device.world.agreed(clock.progress(saved.steps))[0] < 1:
        first = saved.steps * plan.accumulate if saved else 0
        axes = plan.mirrored_axes([info.name for info in dataset.classes[1:]])
        augmentation = Augmentation(
            plan.augmentation,
            plan.patch,
            plan.empty_share,
            mirror_axes=axes,
            fade_share=plan.fade_share,
        )
        module.augmentation = augmentation if plan.augment_on == "device" else None
        part = (device.world.rank, device.world.size)
        batches = PatchBatches(cases, plan, augmentation, first, part)
        with (
            _quiet_lightning(),
            using_threads(plan.threads),
            safe_gradients(device.kind),
            compiled_as_planned(module.network, plan),
        ):
            trainer = _trainer(plan, dataset, device, folder, clock)
            _fit(trainer, module, batches, device, checkpoint if saved else None)
        # it holds the moving average on the card, where onnxruntime wants room now
        del trainer
        module.trainer = None
        give_back(device.kind)
        if clock.stop_asked:
            raise KeyboardInterrupt
        saved = read_checkpoint(checkpoint)
    if saved is None:  # the last step writes one
        raise ConfigError(
            f"the {plan.minutes:g} minutes were over before the first step of the training; give "
            f"more of them (--minutes {enough_minutes(clock):g})"
        )
    module.load_state_dict(saved.averaged_weights)
    return Trained(module.network.eval(), saved.steps, saved.seconds)


def _fit(
    trainer: pl.Trainer,
    module: SegmentationModule,
    batches: PatchBatches,
    device: Device,
    checkpoint: Path | None,
) -> None:
    workers = workers_of(device)
    ahead = batches_ahead(batches.bytes, workers, shared_memory())
    loader = DataLoader(
        batches,
        batch_size=None,
        num_workers=workers if ahead else 0,
        prefetch_factor=ahead or None,
        pin_memory=device.kind == "cuda",
    )
    try:
        trainer.fit(module, loader, ckpt_path=checkpoint, weights_only=True)
    except SystemExit:  # what Lightning makes of Ctrl-C
        raise KeyboardInterrupt from None
    except RuntimeError as error:
        raise _explained(error, module.plan) from error


def batches_ahead(size: int, workers: int, shared: int | None) -> int:
    """Batches that each worker may have made: 0 where shared memory holds none, and none is wanted.

    A container has 64 MB of it unless it is given more; what does not fit ends a worker with a bus
    error.

    Args:
        size: bytes of a batch.
        workers: processes that make batches.
        shared: bytes of ``/dev/shm`` that are free; None where there is none.
    """
    if shared is None or size * workers * BATCHES_AHEAD <= shared:
        return BATCHES_AHEAD
    ahead = shared // (size * workers)
    wanted = -(-size * workers * BATCHES_AHEAD // 10**6)
    log.warning(
        "memory    /dev/shm has %d MB free, and patches on their way want %d MB: %s; in a "
        "container give it more: docker run --shm-size=%dm, in Kubernetes an emptyDir "
        "of medium Memory",
        shared // 10**6, wanted,
        f"{ahead} batches are made ahead, not {BATCHES_AHEAD}" if ahead else
        "patches are made between the steps, which is slow", wanted,
    )  # fmt: skip
    return ahead


def shared_memory() -> int | None:
    """Bytes that are free in ``/dev/shm``, through which processes hand tensors over."""
    try:
        return shutil.disk_usage("/dev/shm").free
    except OSError:
        return None


def _trainer(
    plan: Plan, dataset: Dataset, device: Device, folder: Path, clock: Clock
) -> pl.Trainer:
    world, is_on_card = device.world, device.kind == "cuda"
    average = MovingAverage(plan.ema)
    watch = Watch(average, dataset, folder)
    return pl.Trainer(
        accelerator=device.kind,
        devices=[device.index] if is_on_card and world.size == 1 else world.devices,
        num_nodes=world.machines,
        strategy="auto" if world.size == 1 else _strategy(plan),
        sync_batchnorm=world.size > 1 and is_on_card,
        precision=PRECISIONS[plan.precision],
        benchmark=is_on_card,  # patches have one size
        max_epochs=1,
        max_steps=plan.steps or -1,
        accumulate_grad_batches=plan.accumulate,
        gradient_clip_val=plan.gradient_clip or None,
        callbacks=[
            average,
            StopInTime(clock, world),
            watch,
            Checkpoint(folder, plan.checkpoint_seconds, world),
            Bar(watch),
        ],
        logger=loggers(plan, folder),
        plugins=[WholeCheckpoints()],
        log_every_n_steps=STEPS_BETWEEN_LOGS[device.kind],
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _strategy(plan: Plan) -> str:
    # steps that lack blocks leave weights without a gradient, which DDP must be told to expect
    return "ddp_find_unused_parameters_true" if plan.sandwich_share else "ddp"


def _explained(error: RuntimeError, plan: Plan) -> Exception:
    if lacks_memory(error):
        return SegError(
            "the memory is too small for a step of this plan; close other programs, or begin anew "
            "with a smaller --batch-size or --patch"
        )
    if "shared memory" in str(error) or "Bus error" in str(error):
        return SegError(
            "/dev/shm is full, through which patches reach the network; in a container give it "
            "more (docker run --shm-size=2g), then go on with --resume"
        )
    if "DataLoader worker" not in str(error):
        return error if plan.compiled == "none" else not_compiled(error)
    return SegError(
        "the process that makes patches was ended from outside, most often for lack of memory; "
        "close other programs or plan a smaller patch, then go on with --resume"
    )


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Lightning greets, and warns of what is meant so here; our own bar says what matters."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\..*|torch\..*")
        try:
            yield
        finally:
            logger.setLevel(level)
