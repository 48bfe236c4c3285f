"""Thousand: networks of a thousand layers learn, if something leads around their blocks.

Sources: He et al., Identity Mappings in Deep Residual Networks, ECCV 2016, table 4 (1001 layers);
He et al., Deep Residual Learning for Image Recognition, CVPR 2016, table 6 (1202 layers).
"""

import math
from dataclasses import dataclass, replace

from matplotlib.figure import Figure

from seg.errors import ConfigError
from seg.networks import ResidualUNet
from seg.networks.presets import preset
from training.studies.arms import Arm
from training.studies.learning import LAST_STEPS, dice_on, learn
from training.studies.plots import name_axes, panels, plot
from training.studies.runs import Row, Study, StudyJob, Table
from training.studies.setting import Setting
from training.studies.tables import change, curve, falls, in_words, mean, names, values, where
from training.studies.task import Task

EVERY = 10
"""Steps whose mean loss is one point."""


@dataclass(frozen=True)
class Named(Arm):
    """A preset, with the widths of the setting and perhaps without its shortcuts."""

    preset: str = ""

    def network(
        self, setting: Setting, patch: tuple[int, ...], counts: tuple[int, int], layers: int
    ) -> ResidualUNet:
        """A fresh network of the preset's blocks, as wide as the setting says."""
        config = preset(
            self.preset,
            spatial_dims=len(patch),
            in_channels=counts[0],
            num_classes=counts[1],
        )
        features = tuple(setting.features * 2**stage for stage in range(len(config.features)))
        return ResidualUNet(
            replace(config, shortcut=self.shortcut, features=features, **dict(self.changes))
        )


NETWORKS = {
    "preact": (Named("preact-1001", "preact", preset="preact-1001"), 1001),
    "identity": (Named("identity-1202", "identity", preset="identity-1202"), 1202),
    "none": (Named("plain-1001", "none", preset="preact-1001"), 1001),
}
"""Arm and layers, by the shortcut that asks for them."""


def jobs(setting: Setting) -> list[StudyJob]:
    """The networks whose shortcut was asked for, with each seed.

    Raises:
        ConfigError: no network of a thousand layers has this shortcut.
    """
    for shortcut in setting.shortcuts:
        if shortcut not in NETWORKS:
            raise ConfigError(
                f"networks of a thousand layers are {', '.join(NETWORKS)}, got {shortcut!r}"
            )
    return [
        StudyJob(arm, layers, seed)
        for seed in range(setting.seeds)
        for arm, layers in (NETWORKS[shortcut] for shortcut in setting.shortcuts)
    ]


def measure(job: StudyJob, setting: Setting, task: Task) -> list[Row]:
    """Train one network; its loss by step, and its Dice on held-back patches."""
    network = job.network(setting, task)
    losses = learn(network, task, setting, job.seed)
    dice = dice_on(network, task.held_back(), task.legend)
    return [
        {"step": start + len(some), "loss": sum(some) / len(some), "dice": dice}
        for start in range(0, len(losses), EVERY)
        if (some := losses[start : start + EVERY])
    ]


def draw(table: Table) -> Figure:
    """Loss against steps."""
    figure, (loss,) = panels(1)
    for network in names(table):
        plot(loss, network, curve(where(table, network=network), "step", "loss"))
    name_axes(loss, "step", f"training loss, mean of {EVERY} steps", "A thousand layers and more")
    return figure


def say(table: Table) -> str:
    """What was seen, in a paragraph."""
    sentences = []
    for network in names(table):
        rows = where(table, network=network)
        steps = curve(rows, "step", "loss").x
        blown = {row["seed"] for row in rows if not math.isfinite(float(row["loss"]))}
        if blown:
            seeds = len(values(rows, "seed"))
            sentences.append(f"`{network}` diverges: its loss is no number any more in "
                             f"{len(blown)} of {seeds} trainings")  # fmt: skip
            continue
        first = [row for row in rows if float(row["step"]) <= LAST_STEPS]
        last = [row for row in rows if float(row["step"]) > steps[-1] - LAST_STEPS]
        loss = change(first, last, "loss")
        verdict = "falls" if falls(loss) else "is not shown to fall"
        sentences.append(
            f"`{network}`: the loss {verdict}, from {mean(first, 'loss')[0]:.3f} to "
            f"{mean(last, 'loss')[0]:.3f} ({in_words(loss)}), Dice {mean(rows, 'dice')[0]:.3f}"
        )
    return f"After {steps[-1]:.0f} steps. " + "; ".join(sentences) + "."


STUDY = Study(name="thousand", jobs=jobs, measure=measure, draw=draw, say=say)
