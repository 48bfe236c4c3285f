"""The data of a study: batches to learn from, and patches that are never learned from.

Letters: ``b`` batch, ``c`` channels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from seg.errors import ConfigError
from training.dataset import Dataset, load_dataset
from training.dataset.fingerprint import fingerprint_of
from training.dataset.legend import Legend
from training.learning.losses import make_loss
from training.planning.rules import make_plan
from training.run.device import find_device
from training.run.plan import Plan, changed_plan
from training.run.plan_yaml import read_plan, write_plan
from training.samples.augmentation import Augmentation
from training.samples.patch_batches import PatchBatches
from training.samples.prepared_cases import PreparedCase, prepare_cases
from training.studies.setting import Setting, patch_edges

HELD_BACK_BATCHES = 6
HELD_BACK_SEED = 10**6
"""Far from the seeds of trainings."""

Loss = Callable[[Tensor, Tensor], Tensor]
Batch = tuple[Float32[Tensor, "b c *patch"], Int64[Tensor, "b 1 *patch"]]


@dataclass(frozen=True, eq=False)
class Task:
    """What all networks of a study learn."""

    plan: Plan
    channels: int
    legend: Legend
    cases: Sequence[PreparedCase]
    held_back_cases: Sequence[PreparedCase]

    @property
    def counts(self) -> tuple[int, int]:
        """Channels of the images, and of the logits."""
        return self.channels, self.legend.outputs

    @property
    def loss(self) -> Loss:
        """What training minimises by default."""
        loss: Loss = make_loss(self.legend)
        return loss

    def batches(self, seed: int) -> PatchBatches:
        """Training patches; networks of one seed see the same."""
        return self._patches(self.cases, seed, self.plan.augmentation)

    def held_back(self) -> Batch:
        """Patches of the cases that are held back, always the same."""
        patches = self._patches(self.held_back_cases, HELD_BACK_SEED, "none")
        images, labels = zip(*(patches.batch(n) for n in range(HELD_BACK_BATCHES)), strict=True)
        return torch.cat(images), torch.cat(labels)

    def _patches(self, cases: Sequence[PreparedCase], seed: int, augmentation: str) -> PatchBatches:
        plan = changed_plan(self.plan, {"seed": seed})
        names = [info.name for info in self.legend.classes[1:]]
        augment = Augmentation(augmentation, plan.patch, mirror_axes=plan.mirrored_axes(names))
        return PatchBatches(cases, plan, augment)


def make_task(setting: Setting, folder: Path) -> Task:
    """Look at the data, and prepare them below ``folder`` where that is not done.

    Raises:
        SegError: the data cannot be used.
    """
    dataset = load_dataset(setting.data)
    plan_file = folder / "plan.yaml"
    if not plan_file.is_file():
        write_plan(_plan(setting, dataset), plan_file)
    return open_task(setting, folder)


@lru_cache(maxsize=1)
def open_task(setting: Setting, folder: Path) -> Task:
    """The task that ``make_task`` prepared."""
    dataset = load_dataset(setting.data)
    plan = read_plan(folder / "plan.yaml")
    held_back = replace(dataset, cases=tuple(replace(case, split="train") for case in dataset.test))
    return Task(
        plan=plan,
        channels=len(dataset.channels),
        legend=dataset.legend,
        cases=prepare_cases(dataset, plan, folder / "cache" / "learned"),
        held_back_cases=prepare_cases(held_back, plan, folder / "cache" / "held-back"),
    )


def _plan(setting: Setting, dataset: Dataset) -> Plan:
    if not dataset.test:
        raise ConfigError(
            f"{dataset.name} has one case only; a study needs one to learn from and one to test on"
        )
    fingerprint = fingerprint_of(dataset)
    plan = make_plan(
        fingerprint,
        dataset.channels,
        find_device().kind,
        dataset=dataset.name,
        data=str(dataset.folder.resolve()),
        minutes=1.0,
    )
    smallest = tuple(int(n) for n in np.min(fingerprint.shapes, axis=0))
    return changed_plan(
        plan,
        {
            "patch": patch_edges(setting.edge, smallest),
            "batch_size": setting.batch_size,
            "foreground_share": 0.5,
            "augmentation": "light",
        },
    )
