"""Depth: does a deeper network learn better, or worse?

Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, fig. 1 and 6.
"""

from matplotlib.figure import Figure

from seg.errors import ConfigError
from training.studies.arms import Arm
from training.studies.learning import dice_on, final_loss, learn
from training.studies.plots import name_axes, panels, plot
from training.studies.runs import Row, Study, StudyJob, Table, every_job, jobs_of
from training.studies.setting import Setting, study_config
from training.studies.tables import (
    FEWEST_SEEDS,
    change,
    curve,
    falls,
    in_words,
    mean,
    names,
    rises,
    values,
    where,
)
from training.studies.task import Task

PLAIN = "none"
CONFOUND = Arm("identity, drawn start", "identity", start="drawn")
"""Branches that add begin at 0, plain ones cannot: is it the start, and not the shortcut?"""


def jobs(setting: Setting) -> list[StudyJob]:
    """Each shortcut, and the identity without its start at 0; none where no such network is.

    ``dense`` has no more blocks a stage than features.
    """
    all_ = (*every_job(setting), *jobs_of([CONFOUND], setting))
    return [job for job in all_ if _can_be(job, setting)]


def _can_be(job: StudyJob, setting: Setting) -> bool:
    try:
        study_config(setting, (setting.edge,) * 2, (1, 2), job.arm.shortcut, job.layers)
    except ConfigError:
        return False
    return True


def measure(job: StudyJob, setting: Setting, task: Task) -> list[Row]:
    """Train one network; its final loss, and its Dice on held-back patches."""
    network = job.network(setting, task)
    losses = learn(network, task, setting, job.seed)
    weights = sum(each.numel() for each in network.parameters())
    return [
        {
            "loss": final_loss(losses),
            "dice": dice_on(network, task.held_back(), task.legend),
            "parameters": weights,
        }
    ]


def draw(table: Table) -> Figure:
    """Final loss and Dice against depth."""
    figure, (loss, dice) = panels(2)
    for network in names(table):
        rows = where(table, network=network)
        plot(loss, network, curve(rows, "layers", "loss"))
        plot(dice, network, curve(rows, "layers", "dice"))
    name_axes(loss, "convolutions of the encoder", "training loss, last steps", "Final loss")
    name_axes(dice, "convolutions of the encoder", "Dice", "Held-back patches")
    return figure


def say(table: Table) -> str:
    """What was seen, in a paragraph."""
    sentences, worse, better = [], [], []
    for network in names(table):
        rows = where(table, network=network)
        depths = sorted(int(n) for n in values(rows, "layers"))
        shallow, deep = (where(rows, layers=n) for n in (depths[0], depths[-1]))
        loss, dice = (change(shallow, deep, column) for column in ("loss", "dice"))
        sentences.append(
            f"`{network}` goes from a loss of {mean(shallow, 'loss')[0]:.3f} at {depths[0]} layers "
            f"to {mean(deep, 'loss')[0]:.3f} at {depths[-1]} ({in_words(loss)}), Dice "
            f"{mean(shallow, 'dice')[0]:.3f} to {mean(deep, 'dice')[0]:.3f} ({in_words(dice)})"
        )
        worse += [f"`{network}`"] * (rises(loss) or falls(dice))
        better += [f"`{network}`"] * (falls(loss) or rises(dice))
    text = "Trained for equal steps on the same patches: " + "; ".join(sentences) + "."
    if len(values(table, "seed")) < FEWEST_SEEDS:
        return text + " One seed cannot tell whether depth helps."
    if PLAIN in names(table) and f"`{PLAIN}`" in worse:
        text += " The plain network is harder to train the deeper it is"
        text += ", and that is not overfitting: it is the *training* loss that rises."
    text += f" Worse with depth, by an interval: {', '.join(worse) or 'none'}."
    return text + f" Better: {', '.join(better) or 'none'}."


STUDY = Study(name="depth", jobs=jobs, measure=measure, draw=draw, say=say)
