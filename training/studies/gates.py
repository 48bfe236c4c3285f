"""Gates: what gated and highway networks learned to let pass, block by block.

Sources: Bachlechner et al., ReZero, 2020; Srivastava et al., Training Very Deep Networks, 2015.
"""

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from seg.errors import ConfigError
from seg.networks import ResidualUNet
from seg.networks.block import ResidualBlock
from seg.networks.shortcut import Highway, ScalarGated
from training.studies.learning import dice_on, learn
from training.studies.plots import name_axes, panels, plot
from training.studies.runs import Row, Study, StudyJob, Table, every_job
from training.studies.setting import Setting, study_network
from training.studies.tables import curve, deepest, mean, names, where
from training.studies.task import Batch, Task


def measure(job: StudyJob, setting: Setting, task: Task) -> list[Row]:
    """Train one network, then read its gates."""
    network = study_network(setting, task.plan.patch, task.counts, job.shortcut, job.layers)
    learn(network, task, setting, job.seed)
    held_back = task.held_back()
    dice = dice_on(network, held_back, task.legend)
    return [
        {"block": place + 1, "gate": gate, "dice": dice}
        for place, gate in enumerate(open_gates(network, held_back))
    ]


def open_gates(network: ResidualUNet, batch: Batch) -> list[float]:
    """How far each encoder block's gate is open, in forward order.

    For learned numbers, the mean of their magnitudes; for highway gates, which every voxel sets
    anew, the mean over the patches.

    Raises:
        ConfigError: the network has no gates.
    """
    blocks = [m for m in network.encoder.modules() if isinstance(m, ResidualBlock)]
    seen: list[float] = []

    def read(_: nn.Module, __: object, output: Tensor) -> None:
        seen.append(float(torch.sigmoid(output).mean()))

    if all(isinstance(block.shortcut, ScalarGated) for block in blocks):
        return [
            float(block.shortcut.get_parameter("gate").detach().abs().mean()) for block in blocks
        ]
    if not all(isinstance(block.shortcut, Highway) for block in blocks):
        raise ConfigError(
            "only gated, gated-channel and highway have gates; name one of them in --shortcuts"
        )
    hooks = [b.shortcut.get_submodule("transform").register_forward_hook(read) for b in blocks]
    with torch.no_grad():
        network(batch[0])
    for hook in hooks:
        hook.remove()
    return seen


def draw(table: Table) -> Figure:
    """Gates by block, a panel a shortcut, since their scales differ."""
    found = names(table)
    figure, axes = panels(len(found))
    for panel, network in zip(axes, found, strict=True):
        rows = where(table, network=network)
        for layers in sorted({int(row["layers"]) for row in rows}):
            points = curve(where(rows, layers=layers), "block", "gate")
            plot(panel, network, points, label=f"{layers} layers")
        panel.set_ylim(bottom=0)
        name_axes(panel, "block", "how far the gate is open", network)
    return figure


def say(table: Table) -> str:
    """What was seen, in a paragraph."""
    sentences = []
    for network in names(table):
        rows = where(deepest(table), network=network)
        gates = curve(rows, "block", "gate")
        widest, narrowest = int(gates.mean.argmax()), int(gates.mean.argmin())
        sentences.append(
            f"`{network}` (Dice {mean(rows, 'dice')[0]:.3f}) opens its gates by "
            f"{gates.mean.mean():.2f} on average, most at block {gates.x[widest]:.0f} "
            f"({gates.mean[widest]:.2f} ± {gates.error[widest]:.2f}) and least at block "
            f"{gates.x[narrowest]:.0f} ({gates.mean[narrowest]:.2f} ± {gates.error[narrowest]:.2f})"
        )
    return ". ".join(sentences) + "."


STUDY = Study(name="gates", jobs=every_job, measure=measure, draw=draw, say=say)
