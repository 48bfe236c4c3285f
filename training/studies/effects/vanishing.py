"""Vanishing: what reaches the first block where nothing is normalised, plain beside residual.

Sources: Hochreiter, Untersuchungen zu dynamischen neuronalen Netzen, 1991; Glorot & Bengio,
Understanding the Difficulty of Training Deep Feedforward Neural Networks, AISTATS 2010; He et al.,
Delving Deep into Rectifiers, ICCV 2015.
"""

import math

import numpy as np
from matplotlib.figure import Figure

from seg.errors import ConfigError
from training.studies.arms import Arm
from training.studies.effects.gradients import gradient_norms
from training.studies.learning import dice_on, final_loss, learn
from training.studies.plots import name_axes, panels, plot
from training.studies.runs import Row, Study, StudyJob, Table, every_job, jobs_of
from training.studies.setting import Setting
from training.studies.tables import change, curve, falls, in_words, mean, names, values, where
from training.studies.task import Task

BARE = (("normalisation", "none"),)
PLAIN, TWIN = "plain, Glorot's start", "residual, Glorot's start"
ARMS = (
    Arm(PLAIN, "none", BARE, "glorot"),
    Arm(TWIN, "identity", BARE, "glorot"),
    Arm("residual, Glorot's start, branches drawn", "identity", BARE, "glorot, drawn"),
    Arm("plain, He's start", "none", BARE),
    Arm("plain, He's start, normalised", "none"),
)
GONE = 1e-3
"""A gradient that is this much smaller at the first block than at the last is told as vanished."""


def jobs(setting: Setting) -> list[StudyJob]:
    """The arms whose shortcut was asked for, at each depth with each seed.

    Raises:
        ConfigError: none of them has a shortcut that was asked for.
    """
    every_job(setting)  # refuses what cannot be
    known = list(dict.fromkeys(arm.shortcut for arm in ARMS))
    for shortcut in setting.shortcuts:
        if shortcut not in known:
            raise ConfigError(f"the networks here are {' and '.join(known)}, got {shortcut!r}")
    return jobs_of(ARMS, setting)


def measure(job: StudyJob, setting: Setting, task: Task) -> list[Row]:
    """Gradients of a fresh network by block, then what it learns."""
    network = job.network(setting, task)
    norms = gradient_norms(network, task.batches(job.seed).batch(setting.steps), task.loss)
    losses = learn(network, task, setting, job.seed)
    blew_up = not math.isfinite(final_loss(losses))
    learned = {
        "loss": losses[0] if blew_up else final_loss(losses),
        "dice": 0.0 if blew_up else dice_on(network, task.held_back(), task.legend),
        "diverged": int(blew_up),
    }
    return [
        {"block": place + 1, "norm": norm, "first_to_last": norms[0] / max(norms[-1], 1e-30)}
        | learned
        for place, norm in enumerate(norms)
    ]


def draw(table: Table) -> Figure:
    """Gradient by block of the deepest networks, and the loss that all depths reach."""
    figure, (norms, ratio, loss) = panels(3)
    deepest = max(int(n) for n in values(table, "layers"))
    for network in names(table):
        rows = where(table, network=network)
        plot(norms, network, curve(where(rows, layers=deepest), "block", "norm"))
        plot(ratio, network, curve(rows, "layers", "first_to_last"))
        plot(loss, network, curve(rows, "layers", "loss"))
    for axes in (norms, ratio):
        axes.set_yscale("log")
    name_axes(norms, "block", "norm of the gradient", f"{deepest} layers, before training")
    name_axes(ratio, "convolutions of the encoder", "first block over last", "Before training")
    name_axes(loss, "convolutions of the encoder", "training loss, last steps", "Final loss")
    return figure


def say(table: Table) -> str:
    """What was seen, in a paragraph."""
    deepest = max(int(n) for n in values(table, "layers"))
    sentences, gone = [], []
    for network in names(table):
        rows = where(table, network=network, layers=deepest)
        ratio = float(np.exp(np.mean(np.log([float(row["first_to_last"]) for row in rows]))))
        sentences.append(
            f"`{network}`: the first block's gradient is {ratio:.1e} times the last one's, loss "
            f"{mean(rows, 'loss')[0]:.3f}, Dice {mean(rows, 'dice')[0]:.3f} after training"
            + _diverged(rows)
        )
        gone += [f"`{network}`"] * (ratio < GONE)
    text = f"At {deepest} layers. " + "; ".join(sentences) + "."
    text += f" Vanished, by more than a thousandfold: {', '.join(gone) or 'none'}."
    if {PLAIN, TWIN} <= set(names(table)):
        plain, twin = (where(table, network=n, layers=deepest) for n in (PLAIN, TWIN))
        loss = change(plain, twin, "loss")
        verdict = "learns more" if falls(loss) else "is not shown to learn more"
        text += f" The residual twin {verdict} than the plain one: loss {in_words(loss)}."
    return text


def _diverged(rows: Table) -> str:
    seeds = {row["seed"] for row in rows if row["diverged"]}
    return f" ({len(seeds)} of {len(values(rows, 'seed'))} trainings diverged)" if seeds else ""


def first_blocks(table: Table) -> Table:
    """One row a network and seed: what it learned, and the gradient of its first block."""
    return where(table, block=1)


STUDY = Study(
    name="vanishing", jobs=jobs, measure=measure, draw=draw, say=say, condensed=first_blocks
)
