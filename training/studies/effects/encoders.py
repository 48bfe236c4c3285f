"""Encoders: 152 layers beside 34, after as much time and after as many steps.

Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, table 1. Widths are the
paper's: those of the setting are not used.
"""

import time
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
from torch import nn

from seg.errors import ConfigError
from seg.names import chosen
from seg.networks import SHORTCUTS, ResidualUNet
from seg.networks.presets import preset
from training.studies.arms import Arm
from training.studies.beside import against_first, bars
from training.studies.learning import LAST_STEPS, dice_on, final_loss, learn
from training.studies.runs import Row, Study, StudyJob, Table
from training.studies.setting import Setting
from training.studies.tables import mean, names, where
from training.studies.task import Task

TIMED_STEPS = 6
"""Of each network, to find what one costs; the first one warms up."""


@dataclass(frozen=True)
class NamedEncoder(Arm):
    """A preset as it is; its shortcut is the one that was asked for."""

    preset: str = ""
    as_long_as: str = ""
    """A preset whose time it gets; empty for the steps of the setting."""

    def network(
        self, setting: Setting, patch: tuple[int, ...], counts: tuple[int, int], layers: int
    ) -> ResidualUNet:
        """A fresh network, as ``fit --network`` would take it."""
        return encoder_of(self.preset, self.shortcut, patch, counts)


def encoder_of(
    name: str, shortcut: str, patch: tuple[int, ...], counts: tuple[int, int]
) -> ResidualUNet:
    """A preset's network with fresh weights."""
    config = preset(name, spatial_dims=len(patch), in_channels=counts[0], num_classes=counts[1])
    return ResidualUNet(replace(config, shortcut=shortcut))


DEEP, SHALLOW = "resnet152", "resnet34"
LAYERS = {SHALLOW: 34, DEEP: 152}


def jobs(setting: Setting) -> list[StudyJob]:
    """The shallow encoder, and the deep one twice, with each seed.

    Raises:
        ConfigError: more than one shortcut, or one that is not known.
    """
    if len(setting.shortcuts) != 1:
        raise ConfigError(
            f"encoders are compared with one shortcut, got {len(setting.shortcuts)}: "
            f"{', '.join(setting.shortcuts)}"
        )
    (shortcut,) = setting.shortcuts
    chosen(SHORTCUTS, shortcut, "shortcut")
    arms = (
        NamedEncoder(SHALLOW, shortcut, preset=SHALLOW),
        NamedEncoder(f"{DEEP}, same time", shortcut, preset=DEEP, as_long_as=SHALLOW),
        NamedEncoder(f"{DEEP}, same steps", shortcut, preset=DEEP),
    )
    return [
        StudyJob(arm, LAYERS[arm.preset], seed) for seed in range(setting.seeds) for arm in arms
    ]


def measure(job: StudyJob, setting: Setting, task: Task) -> list[Row]:
    """Train one network; its final loss, and its Dice on held-back patches."""
    network = job.network(setting, task)
    arm = job.arm
    assert isinstance(arm, NamedEncoder)
    if arm.as_long_as:
        other = encoder_of(arm.as_long_as, arm.shortcut, task.plan.patch, task.counts)
        share = seconds_a_step(other, task, setting) / seconds_a_step(network, task, setting)
        steps = max(LAST_STEPS, round(setting.steps * share))
        setting = setting.model_copy(update={"steps": steps})
    began = time.process_time()
    losses = learn(network, task, setting, job.seed)
    seconds = time.process_time() - began
    dice = dice_on(network, task.held_back(), task.legend)
    return [{"steps": setting.steps, "seconds": seconds, "loss": final_loss(losses), "dice": dice}]


def seconds_a_step(network: nn.Module, task: Task, setting: Setting) -> float:
    """What a training step costs, in seconds of processors; the network stays as it is."""
    ends: list[float] = []
    learn(
        deepcopy(network),
        task,
        setting.model_copy(update={"steps": TIMED_STEPS}),
        seed=0,
        watch=lambda *_: ends.append(time.process_time()),
    )
    return float(np.median(np.diff(ends)[1:]))


def say(table: Table) -> str:
    """What was seen, in a paragraph: each against the shallow encoder."""
    spent = (
        f"`{network}`: {mean(rows, 'steps')[0]:.0f} steps in {mean(rows, 'seconds')[0]:.0f} s"
        for network in names(table)
        if (rows := where(table, network=network))
    )
    return f"{'; '.join(spent)} of one core. {against_first(table)}"


STUDY = Study(name="encoders", jobs=jobs, measure=measure, draw=bars, say=say)
