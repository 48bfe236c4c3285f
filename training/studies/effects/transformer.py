"""Transformer: attention at the bottom of the U-Net, with and without its own shortcuts.

Sources: Vaswani et al., Attention Is All You Need, NeurIPS 2017, section 3.1, whose sublayers are
LayerNorm(x + Sublayer(x)); Dong et al., Attention Is Not All You Need: Pure Attention Loses Rank
Doubly Exponentially with Depth, ICML 2021, who take the shortcuts away.
"""

from dataclasses import dataclass

from matplotlib.figure import Figure
from torch import nn

from seg.networks import ResidualUNet
from seg.networks.attention import TokenResidual
from training.studies.arms import Arm
from training.studies.beside import against_first, bars
from training.studies.learning import dice_on, final_loss, learn
from training.studies.runs import Row, Study, StudyJob, Table, every_job, jobs_of
from training.studies.setting import Setting
from training.studies.tables import deepest
from training.studies.task import Task

BLOCKS = 4
WITH, WITHOUT = f"{BLOCKS} attention blocks", f"{BLOCKS} attention blocks, no shortcuts"
CONVOLUTIONS = "convolutions alone"


@dataclass(frozen=True)
class WithoutShortcuts(Arm):
    """Attention blocks whose sublayers hand on F(norm(x)) and no x."""

    def network(
        self, setting: Setting, patch: tuple[int, ...], counts: tuple[int, int], layers: int
    ) -> ResidualUNet:
        """A fresh network; the sublayers' last weights are drawn, for at 0 nothing would pass."""
        network = super().network(setting, patch, counts, layers)
        for name, module in list(network.named_modules()):
            if isinstance(module, TokenResidual):
                end = module.branch.get_submodule("out")
                assert isinstance(end, nn.Linear)
                end.reset_parameters()
                network.set_submodule(name, nn.Sequential(module.norm, module.branch))
        return network


def jobs(setting: Setting) -> list[StudyJob]:
    """Each shortcut of the convolutions: without attention, with it, and with it cut."""
    every_job(setting)  # refuses what cannot be
    changes = (("attention_blocks", BLOCKS),)
    arms = [
        arm
        for shortcut in dict.fromkeys(setting.shortcuts)
        for arm in (
            Arm(_named(CONVOLUTIONS, shortcut, setting), shortcut),
            Arm(_named(WITH, shortcut, setting), shortcut, changes),
            WithoutShortcuts(_named(WITHOUT, shortcut, setting), shortcut, changes),
        )
    ]
    return jobs_of(arms, setting)


def _named(name: str, shortcut: str, setting: Setting) -> str:
    return name if len(setting.shortcuts) == 1 else f"{name}, {shortcut}"


def measure(job: StudyJob, setting: Setting, task: Task) -> list[Row]:
    """Train one network; its final loss, and its Dice on held-back patches."""
    network = job.network(setting, task)
    losses = learn(network, task, setting, job.seed)
    dice = dice_on(network, task.held_back(), task.legend)
    return [{"loss": final_loss(losses), "dice": dice}]


def draw(table: Table) -> Figure:
    """Bars with the spread over seeds."""
    return bars(deepest(table))


def say(table: Table) -> str:
    """What was seen, in a paragraph: each arm against the first, convolutions alone."""
    return against_first(deepest(table))


STUDY = Study(name="transformer", jobs=jobs, measure=measure, draw=draw, say=say)
