"""Depth: does a deeper network learn better, or worse?

Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, fig. 1 and 6.
"""

from matplotlib.figure import Figure

from training.studies.learning import dice_on, final_loss, learn
from training.studies.plots import name_axes, panels, plot
from training.studies.runs import Row, Study, StudyJob, Table, every_job
from training.studies.setting import Setting, study_network
from training.studies.tables import curve, names, values, where
from training.studies.task import Task

PLAIN = "none"


def measure(job: StudyJob, setting: Setting, task: Task) -> list[Row]:
    """Train one network; its final loss, and its Dice on held-back patches."""
    network = study_network(setting, task.plan.patch, task.counts, job.shortcut, job.layers)
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
    depths = sorted(int(n) for n in values(table, "layers"))
    low, high = depths[0], depths[-1]
    sentences = []
    for network in names(table):
        loss = curve(where(table, network=network), "layers", "loss")
        dice = curve(where(table, network=network), "layers", "dice")
        change = loss.at(high) / loss.at(low) - 1
        sentences.append(
            f"`{network}` goes from a loss of {loss.at(low):.3f} at {low} layers to "
            f"{loss.at(high):.3f} at {high} ({change:+.0%}), Dice {dice.at(low):.3f} to "
            f"{dice.at(high):.3f}"
        )
    text = "Trained for equal steps on the same patches: " + "; ".join(sentences) + "."
    if PLAIN not in names(table):
        return text
    worse = _worse_than_shallow(table, PLAIN)
    escaped = [
        f"`{name}`"
        for name in names(table)
        if name != PLAIN and not _worse_than_shallow(table, name)
    ]
    if worse:
        text += (
            " The deepest plain network has a higher *training* loss than the shallowest one: it "
            "is not overfitting, it is harder to train."
        )
    else:
        text += " The plain network did not degrade at these depths."
    return text + (f" {', '.join(escaped)} did not get worse with depth." if escaped else "")


def _worse_than_shallow(table: Table, network: str) -> bool:
    """Loss rises with depth by more than the spread over seeds."""
    loss = curve(where(table, network=network), "layers", "loss")
    return bool(loss.mean[-1] - loss.mean[0] > max(loss.error[-1], loss.error[0]))


STUDY = Study(name="depth", jobs=every_job, measure=measure, draw=draw, say=say)
