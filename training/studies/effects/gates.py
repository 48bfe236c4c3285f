"""Gates: what gated and highway networks learned to let pass, block by block.

Sources: Bachlechner et al., ReZero, 2020; Srivastava et al., Training Very Deep Networks, 2015.
"""

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor, nn

from seg.errors import ConfigError
from seg.networks import ResidualUNet
from seg.networks.block import ResidualBlock
from seg.networks.shortcut import Highway, ScalarGated
from training.studies.learning import dice_on, learn
from training.studies.plots import name_axes, panels, plot
from training.studies.runs import Row, Study, StudyJob, Table, every_job
from training.studies.setting import Setting
from training.studies.tables import (
    change,
    curve,
    deepest,
    in_words,
    mean,
    names,
    values,
    where,
)
from training.studies.task import Batch, Task

EVERYWHERE = "all voxels"


def measure(job: StudyJob, setting: Setting, task: Task) -> list[Row]:
    """Train one network, then read its gates."""
    network = job.network(setting, task)
    learn(network, task, setting, job.seed)
    held_back = task.held_back()
    dice = dice_on(network, held_back, task.legend)
    rows: list[Row] = [
        {"block": place + 1, "where": EVERYWHERE, "gate": gate, "dice": dice}
        for place, gate in enumerate(open_gates(network, held_back))
    ]
    names = [info.name for info in task.legend.classes]
    for place, by_class in enumerate(gates_by_class(network, held_back, len(names))):
        rows += [
            {"block": place + 1, "where": names[value], "gate": gate, "dice": dice}
            for value, gate in by_class.items()
        ]
    return rows


def open_gates(network: ResidualUNet, batch: Batch) -> list[float]:
    """How far each encoder block's gate is open, in forward order.

    For learned numbers, the mean of their magnitudes; for highway gates, which every voxel sets
    anew, the mean over the patches.

    Raises:
        ConfigError: the network has no gates.
    """
    blocks = [m for m in network.encoder.modules() if isinstance(m, ResidualBlock)]
    if all(isinstance(block.shortcut, ScalarGated) for block in blocks):
        return [
            float(block.shortcut.get_parameter("gate").detach().abs().mean()) for block in blocks
        ]
    if not all(isinstance(block.shortcut, Highway) for block in blocks):
        raise ConfigError(
            "only gated, gated-channel and highway have gates; name one of them in --shortcuts"
        )
    return [float(gate.mean()) for gate in _highway_gates(network, batch[0])]


def gates_by_class(network: ResidualUNet, batch: Batch, classes: int) -> list[dict[int, float]]:
    """How far each block's gate is open over the voxels of each class, for gates that voxels set.

    A voxel of a coarser block counts for the class of the voxel in the middle of it. Empty for
    learned numbers, which are the same whatever the image shows.
    """
    images, labels = batch
    found = []
    for gate in _highway_gates(network, images):
        shrunk = nn.functional.interpolate(labels.float(), gate.shape[2:], mode="nearest")
        by_voxel = gate.mean(dim=1, keepdim=True)
        found.append(
            {
                value: float(by_voxel[shrunk == value].mean())
                for value in range(classes)
                if (shrunk == value).any()
            }
        )
    return found


def _highway_gates(
    network: ResidualUNet, images: Float[Tensor, "b c *patch"]
) -> list[Float[Tensor, "b _ *_"]]:
    seen: list[Tensor] = []

    def read(_: nn.Module, __: object, output: Tensor) -> None:
        seen.append(torch.sigmoid(output))

    hooks = [
        module.get_submodule("transform").register_forward_hook(read)
        for module in network.encoder.modules()
        if isinstance(module, Highway)
    ]
    with torch.no_grad():
        network(images)
    for hook in hooks:
        hook.remove()
    return seen


def draw(table: Table) -> Figure:
    """Gates by block, a panel a shortcut, since their scales differ; by class where voxels set."""
    by_class = [
        name for name in names(table) if len(values(where(table, network=name), "where")) > 1
    ]
    figure, axes = panels(len(names(table)) + len(by_class))
    for panel, network in zip(axes, names(table), strict=False):
        rows = where(table, network=network, where=EVERYWHERE)
        for layers in sorted({int(row["layers"]) for row in rows}):
            points = curve(where(rows, layers=layers), "block", "gate")
            plot(panel, network, points, label=f"{layers} layers")
        panel.set_ylim(bottom=0)
        name_axes(panel, "block", "how far the gate is open", network)
    for panel, network in zip(axes[len(names(table)) :], by_class, strict=True):
        rows = deepest(where(table, network=network))
        for place in values(rows, "where"):
            if place != EVERYWHERE:
                points = curve(where(rows, where=place), "block", "gate")
                plot(panel, str(place), points, label=str(place))
        panel.set_ylim(bottom=0)
        name_axes(panel, "block", "how far the gate is open", f"{network}, by what voxels show")
    return figure


def say(table: Table) -> str:
    """What was seen, in a paragraph."""
    sentences = []
    for network in names(table):
        rows = where(deepest(table), network=network)
        everywhere = where(rows, where=EVERYWHERE)
        gates = curve(everywhere, "block", "gate")
        widest, narrowest = int(gates.mean.argmax()), int(gates.mean.argmin())
        sentences.append(
            f"`{network}` (Dice {mean(rows, 'dice')[0]:.3f}) opens its gates by "
            f"{gates.mean.mean():.2f} on average, most at block {gates.x[widest]:.0f} "
            f"({gates.mean[widest]:.2f} ± {gates.error[widest]:.2f}) and least at block "
            f"{gates.x[narrowest]:.0f} ({gates.mean[narrowest]:.2f} ± {gates.error[narrowest]:.2f})"
            + _by_class(rows)
        )
    return ". ".join(sentences) + "."


def _by_class(rows: Table) -> str:
    """Each class against the first, background; nothing for gates that are learned numbers."""
    _, *classes = values(rows, "where")
    if not classes:
        return ""
    ground, *others = (where(rows, where=str(place)) for place in classes)
    told = [f"{mean(ground, 'gate')[0]:.3f} over {classes[0]}"]
    for place, voxels in zip(classes[1:], others, strict=True):
        apart = change(ground, voxels, "gate")
        told.append(f"{mean(voxels, 'gate')[0]:.3f} over {place} ({in_words(apart)})")
    return "; over voxels of each class: " + ", ".join(told)


STUDY = Study(name="gates", jobs=every_job, measure=measure, draw=draw, say=say)
