# mypy: disable-error-code=no-untyped-call
# torch does not type backward().
"""Gradients: how much of them reaches each block, and how alike they are at neighbouring images.

Letters: ``b`` batch, ``c`` channels, ``t`` points of a path between images.
"""

import math

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor, nn

from seg.networks import ResidualUNet
from seg.networks.block import ResidualBlock
from training.studies.learning import learn
from training.studies.plots import name_axes, panels, plot
from training.studies.runs import Row, Study, StudyJob, Table, every_job
from training.studies.setting import Setting
from training.studies.tables import curve, mean, names, values, where
from training.studies.task import Batch, Loss, Task

NORM, CORRELATION = "gradient norm", "input gradient correlation"
RATIO = "gradient norm, first block over last"
PATH_POINTS = 24
PATH_LENGTH = 1.0
"""Of the way between two images; in units of their z-scores."""
START, END = "start", "end"


def measure(job: StudyJob, setting: Setting, task: Task) -> list[Row]:
    """Gradients of one network before, amid and after its training."""
    network = job.network(setting, task)
    batch = task.batches(job.seed).batch(setting.steps)
    rows: list[Row] = []
    times = {0: START, setting.steps // 2: "half", setting.steps: END}

    def watch(step: int, _: nn.Module) -> None:
        if step not in times:
            return
        time: dict[str, str | int | float] = {"step": step, "time": times[step]}
        for index, norm in enumerate(gradient_norms(network, batch, task.loss)):
            rows.append({**time, "quantity": NORM, "block": index + 1, "value": norm})
        correlation = input_gradient_correlation(network, batch[0])
        rows.append({**time, "quantity": CORRELATION, "block": 0, "value": correlation})

    learn(network, task, setting, job.seed, watch)
    return rows


def gradient_norms(network: ResidualUNet, batch: Batch, loss: Loss) -> list[float]:
    """Norm of the loss's gradient at the output of each encoder block, in forward order."""
    outputs: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: Tensor) -> None:
        output.retain_grad()
        outputs.append(output)

    blocks = [m for m in network.encoder.modules() if isinstance(m, ResidualBlock)]
    hooks = [block.register_forward_hook(keep) for block in blocks]
    images, labels = batch
    loss(network(images), labels.float()).backward()
    network.zero_grad()
    for hook in hooks:
        hook.remove()
    return [0.0 if out.grad is None else float(out.grad.norm()) for out in outputs]


def input_gradient_correlation(network: nn.Module, images: Float[Tensor, "b c *patch"]) -> float:
    """Mean correlation of the input's gradients at neighbouring points between two images.

    1 where the output bends slowly with the input, 0 where its gradients are like white noise.

    Source: Balduzzi et al., The Shattered Gradients Problem, ICML 2017, section 2; they walk over
    the inputs of a network with one input, here the walk goes from one patch to another.
    """
    way = torch.linspace(0, PATH_LENGTH, PATH_POINTS).view(-1, *[1] * (images.ndim - 1))
    path = (images[:1] + way * (images[1:2] - images[:1])).requires_grad_()
    logits = network(path)
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(logits.shape[1:], generator=generator)
    (gradient,) = torch.autograd.grad((logits * direction).sum(), path)
    flat = gradient.flatten(1) - gradient.flatten(1).mean(dim=1, keepdim=True)
    return float(nn.functional.cosine_similarity(flat[:-1], flat[1:]).mean())


def draw(table: Table) -> Figure:
    """Gradient norms by block in the deepest network, and correlation by depth."""
    figure, axes = panels(2, 2)
    deepest = max(int(n) for n in values(table, "layers"))
    for norms, correlations, time in ((axes[0], axes[2], START), (axes[1], axes[3], END)):
        at = where(table, time=time)
        for network in names(table):
            rows = where(at, network=network)
            deep = where(rows, layers=deepest, quantity=NORM)
            plot(norms, network, curve(deep, "block", "value"))
            plot(correlations, network, curve(where(rows, quantity=CORRELATION), "layers", "value"))
        title = "before training" if time == START else "after training"
        norms.set_yscale("log")
        name_axes(norms, "block", "norm of the gradient", f"{deepest} layers, {title}")
        name_axes(
            correlations, "convolutions of the encoder", "correlation", f"Input gradients, {title}"
        )
    return figure


def condensed(table: Table) -> Table:
    """What norms and correlations come to: two rows a network, seed and time."""
    rows: list[Row] = []
    for row in table:
        if row["quantity"] == CORRELATION:
            rows.append(row)
        elif row["block"] == 1:
            same = {key: row[key] for key in ("network", "layers", "seed", "time")}
            norms = [float(each["value"]) for each in where(table, quantity=NORM, **same)]
            ratio = norms[0] / norms[-1] if norms[-1] else math.inf
            rows.append({**row, "quantity": RATIO, "block": 0, "value": ratio})
    return rows


def say(table: Table) -> str:
    """What was seen, in a paragraph."""
    depths = sorted(int(n) for n in values(table, "layers"))
    low, high = depths[0], depths[-1]
    sentences = []
    for network in names(table):
        here = where(condensed(table), network=network)
        ratios = where(here, quantity=RATIO, layers=high)
        ratio = [mean(where(ratios, time=time), "value")[0] for time in (START, END)]
        rows = where(here, quantity=CORRELATION)
        near, far = (mean(where(rows, layers=n, time=START), "value")[0] for n in (low, high))
        sentences.append(
            f"`{network}`: the first block's gradient is {ratio[0]:.2g} times the last one's "
            f"before training and {ratio[1]:.2g} times after it; neighbouring input gradients "
            f"correlate by {near:.2f} at {low} layers and {far:.2f} at {high}"
        )
    return f"At {high} layers. " + "; ".join(sentences) + "."


STUDY = Study(
    name="gradients", jobs=every_job, measure=measure, draw=draw, say=say, condensed=condensed
)
