"""Lesion: blocks are dropped or swapped in a trained network, and nothing is trained again.

Source: Veit et al., Residual Networks Behave Like Ensembles of Relatively Shallow Networks,
NeurIPS 2016.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.studies.arms import Arm
from training.studies.learning import dice_on, learn
from training.studies.plots import name_axes, panels, plot
from training.studies.runs import Row, Study, StudyJob, Table, every_job, jobs_of
from training.studies.setting import Setting
from training.studies.surgery import kept_blocks, path_gradients, permuted, without
from training.studies.tables import curve, deepest, mean, names, values, where
from training.studies.task import Task

SINGLE, RANDOM, SWAPPED, PATHS = "single drop", "random drops", "swaps", "path length"
DROP_RATE = 0.2
"""Of the last block. Huang et al. 2016 take 0.5 for trainings of hundreds of epochs."""
DROPPED = Arm("identity, stochastic depth", "identity", (("stochastic_depth", DROP_RATE),))
DRAWS = 6
PATH_DRAWS = 2
PATH_PATCHES = 4
SWAPS = (1, 2, 4, 8, 16)
CARRIED = 0.9
"""Share of the gradient whose path lengths are told."""


def jobs(setting: Setting) -> list[StudyJob]:
    """Each shortcut, and the identity with stochastic depth beside it."""
    return every_job(setting) + jobs_of([DROPPED], setting)


def measure(job: StudyJob, setting: Setting, task: Task) -> list[Row]:
    """Train one network, then hurt copies of it."""
    network = job.network(setting, task)
    learn(network, task, setting, job.seed)
    held_back = task.held_back()
    rng = np.random.default_rng(job.seed)
    blocks = kept_blocks(network)
    rows: list[Row] = [
        {"lesion": RANDOM, "count": 0, "dice": dice_on(network, held_back, task.legend)}
    ]
    for place, name in enumerate(blocks):
        dice = dice_on(without(network, [name]), held_back, task.legend)
        rows.append({"lesion": SINGLE, "count": 1, "block": place + 1, "dice": dice})
    for count in drop_counts(len(blocks)):
        for _ in range(DRAWS):
            hurt = without(network, rng.choice(blocks, count, replace=False))
            dice = dice_on(hurt, held_back, task.legend)
            rows.append({"lesion": RANDOM, "count": count, "dice": dice})
    for count in SWAPS:
        for _ in range(DRAWS):
            dice = dice_on(permuted(network, count, rng), held_back, task.legend)
            rows.append({"lesion": SWAPPED, "count": count, "dice": dice})
    if network.droppable_blocks():
        few = (held_back[0][:PATH_PATCHES], held_back[1][:PATH_PATCHES])
        for length, share in enumerate(path_gradients(network, few, task.loss, PATH_DRAWS, rng)):
            rows.append({"lesion": PATHS, "count": length, "share": float(share)})
    return rows


def drop_counts(blocks: int) -> list[int]:
    """1, 2, 3, and then steps up to all."""
    steps = np.linspace(0, blocks, 9).round().astype(int)
    return sorted({1, 2, 3, *(int(n) for n in steps if n)} & set(range(1, blocks + 1)))


def draw(table: Table) -> Figure:
    """Dice against blocks dropped, each single drop, swaps, and what paths carry."""
    table = deepest(table)
    figure, (random, single, swapped, paths) = panels(2, 2)
    for network in names(table):
        rows = where(table, network=network)
        plot(random, network, curve(where(rows, lesion=RANDOM), "count", "dice"))
        plot(single, network, curve(where(rows, lesion=SINGLE), "block", "dice"))
        intact = where(rows, lesion=RANDOM, count=0)
        plot(swapped, network, curve([*intact, *where(rows, lesion=SWAPPED)], "count", "dice"))
        carried = where(rows, lesion=PATHS)
        if carried:
            plot(paths, network, curve(carried, "count", "share"))
    _from_zero(random, "blocks dropped at random", "Dropping blocks")
    _from_zero(single, "the block that is dropped", "Dropping one block")
    _from_zero(swapped, "pairs of blocks swapped", "Swapping blocks")
    name_axes(paths, "branches on the path", "share of the gradient", "Paths that carry gradient")
    return figure


def _from_zero(axes: Axes, x: str, title: str) -> None:
    axes.set_ylim(bottom=0)
    name_axes(axes, x, "Dice, held-back patches", title)


def carrying_lengths(table: Table, network: str) -> tuple[int, int] | None:
    """Shortest and longest path among those that carry most of the gradient."""
    rows = where(table, network=network, lesion=PATHS)
    if not rows:
        return None
    shares = curve(rows, "count", "share").mean
    reached = np.cumsum(shares) / shares.sum()
    tail = (1 - CARRIED) / 2
    return int(np.searchsorted(reached, tail)), int(np.searchsorted(reached, 1 - tail))


def say(table: Table) -> str:
    """What was seen, in a paragraph."""
    table = deepest(table)
    blocks = max(int(n) for n in values(where(table, lesion=SINGLE), "block"))
    half = min(drop_counts(blocks), key=lambda n: abs(n - blocks / 2))
    sentences = []
    for network in names(table):
        rows = where(table, network=network)
        dropped = curve(where(rows, lesion=RANDOM), "count", "dice")
        single = mean(where(rows, lesion=SINGLE), "dice")[0]
        swapped = curve(where(rows, lesion=SWAPPED), "count", "dice")
        text = (
            f"`{network}` has a Dice of {dropped.at(0):.3f} whole, {single:.3f} without one block "
            f"(mean over all), {dropped.at(half):.3f} without {half} of {blocks}, and "
            f"{swapped.at(4):.3f} with 4 pairs swapped"
        )
        lengths = carrying_lengths(table, network)
        if lengths:
            text += (
                f"; paths through {lengths[0]} to {lengths[1]} branches carry "
                f"{100 * CARRIED:.0f} % of its gradient"
            )
        sentences.append(text)
    return ". ".join(sentences) + "."


STUDY = Study(name="lesion", jobs=jobs, measure=measure, draw=draw, say=say)
