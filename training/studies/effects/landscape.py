"""Landscape: the loss around trained weights, in two random directions.

Source: Li et al., Visualizing the Loss Landscape of Neural Nets, NeurIPS 2018.
"""

from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import torch
from jaxtyping import Float64
from matplotlib.figure import Figure
from scipy import ndimage
from torch import Tensor, nn

from training.studies.learning import learn, loss_on
from training.studies.runs import Row, Study, StudyJob, Table, every_job
from training.studies.setting import Setting
from training.studies.tables import change, falls, in_words, mean, names, rises, values, where
from training.studies.task import Batch, Loss, Task

REACH = 1.0
"""The plane goes from -1 to 1 in both directions: a step of 1 is as long as the weights are."""
POINTS = 17
"""Along each direction; odd, so that the trained weights are one of them."""
BATCHES = 2
RISE = 0.25
"""The basin is where the loss is at most this far above that of the trained weights."""
NEAR = 0.25
"""Lengths of the weights within which the loss's rise is called sharpness."""
HIGHEST_DRAWN = 3.0


def measure(job: StudyJob, setting: Setting, task: Task) -> list[Row]:
    """Train one network, then look around its weights on training patches."""
    network = job.network(setting, task)
    learn(network, task, setting, job.seed)
    patches = task.batches(0)
    images, labels = zip(*(patches.batch(setting.steps + n) for n in range(BATCHES)), strict=True)
    surface = loss_surface(network, (torch.cat(images), torch.cat(labels)), task.loss, job.seed)
    ways = np.linspace(-REACH, REACH, POINTS)
    return [
        {"a": float(a), "b": float(b), "loss": float(surface[i, j])}
        for i, a in enumerate(ways)
        for j, b in enumerate(ways)
    ]


def loss_surface(
    network: nn.Module, batch: Batch, loss: Loss, seed: int
) -> Float64[np.ndarray, "p p"]:
    """Loss at ``POINTS`` squared points of a plane through the trained weights."""
    generator = torch.Generator().manual_seed(seed)
    weights = [p.detach().clone() for p in network.parameters()]
    one, other = (filter_normalised(weights, generator) for _ in range(2))
    moved = deepcopy(network)
    ways = np.linspace(-REACH, REACH, POINTS)
    surface = np.empty((POINTS, POINTS))
    for i, a in enumerate(ways):
        for j, b in enumerate(ways):
            with torch.no_grad():
                for p, w, d, e in zip(moved.parameters(), weights, one, other, strict=True):
                    p.copy_(w + float(a) * d + float(b) * e)
            surface[i, j] = loss_on(moved, batch, loss)
    return surface


def filter_normalised(weights: Sequence[Tensor], generator: torch.Generator) -> list[Tensor]:
    """A random direction in which every filter is as long as the filter that it moves.

    Biases, norms and gates stay (section 4 of the paper), since a network computes the same with
    filters scaled up and the norm after them: without this, the scale of the weights would decide
    how wide a basin looks.
    """
    direction = []
    for weight in weights:
        if weight.ndim < 2:
            direction.append(torch.zeros_like(weight))
            continue
        drawn = torch.randn(weight.shape, generator=generator)
        flat = drawn.flatten(1).norm(dim=1).clamp_min(1e-12)
        ratio = weight.flatten(1).norm(dim=1) / flat
        direction.append(drawn * ratio.view(-1, *[1] * (weight.ndim - 1)))
    return direction


def basin_width(surface: Float64[np.ndarray, "p p"]) -> float:
    """Diameter of the disc that is as large as the basin around the trained weights.

    In lengths of the weights, at most about 2.26, when the whole plane is basin.
    """
    middle = POINTS // 2
    low = surface <= surface[middle, middle] + RISE
    parts, _ = ndimage.label(low)
    cells = int((parts == parts[middle, middle]).sum())
    cell = (2 * REACH / (POINTS - 1)) ** 2
    return float(2 * np.sqrt(min(cells * cell, 4 * REACH**2) / np.pi))


def sharpness(surface: Float64[np.ndarray, "p p"]) -> float:
    """Mean rise of the loss over the points nearby, above that of the trained weights.

    Source: Foret et al., Sharpness-Aware Minimization, ICLR 2021, eq. 1, who take the largest
    rise; of few directions the mean is less a matter of luck.
    """
    ways = np.linspace(-REACH, REACH, POINTS)
    apart = np.hypot(*np.meshgrid(ways, ways))
    middle = surface[POINTS // 2, POINTS // 2]
    return float((surface[(apart > 0) & (apart <= NEAR)] - middle).mean())


def bent_share(surface: Float64[np.ndarray, "p p"]) -> float:
    """Share of the plane that bends downwards in some direction: 0 for a bowl.

    The smaller eigenvalue of the Hessian by finite differences, against the larger: the paper maps
    the same ratio.
    """
    first, second = np.gradient(surface)
    (aa, ab), (_, bb) = np.gradient(first), np.gradient(second)
    spread = np.sqrt(((aa - bb) / 2) ** 2 + ab**2)
    smaller, larger = (aa + bb) / 2 - spread, (aa + bb) / 2 + spread
    return float((smaller < -0.1 * np.abs(larger)).mean())


def surfaces(table: Table) -> list[tuple[str, int, int, Float64[np.ndarray, "p p"]]]:
    """Network, layers, seed and surface of every run."""
    found = []
    for network in names(table):
        for layers in values(table, "layers"):
            for seed in values(table, "seed"):
                rows = where(table, network=network, layers=int(layers), seed=int(seed))
                loss = np.array([float(row["loss"]) for row in rows]).reshape(POINTS, POINTS)
                found.append((network, int(layers), int(seed), loss))
    return found


def draw(table: Table) -> Figure:
    """A contour and a surface of each network, those of the first seed."""
    shown = [each for each in surfaces(table) if each[2] == 0]
    figure = Figure(figsize=(3.6 * len(shown), 6.6), layout="constrained", dpi=120)
    ways = np.linspace(-REACH, REACH, POINTS)
    lowest = min(float(loss.min()) for *_, loss in shown)
    levels = np.linspace(lowest, HIGHEST_DRAWN, 18)
    for column, (network, layers, _, loss) in enumerate(shown):
        cut = np.minimum(loss, HIGHEST_DRAWN)
        flat = figure.add_subplot(2, len(shown), column + 1)
        drawn = flat.contourf(ways, ways, cut, levels=levels, cmap="viridis", extend="max")
        flat.contour(ways, ways, cut, levels=levels, colors="white", linewidths=0.4)
        flat.plot(0, 0, marker="x", color="#d55e00")
        flat.set_title(f"{network}, {layers} layers\nloss {loss[POINTS // 2, POINTS // 2]:.2f}, "
                       f"basin {basin_width(loss):.2f}", fontsize=10)  # fmt: skip
        flat.set_xlabel("direction 1")
        flat.set_ylabel("direction 2" if column == 0 else "")
        flat.set_aspect("equal")
        deep = figure.add_subplot(2, len(shown), len(shown) + column + 1, projection="3d")
        deep.plot_surface(*np.meshgrid(ways, ways), cut, cmap="viridis", linewidth=0,
                          vmin=lowest, vmax=HIGHEST_DRAWN)  # fmt: skip
        deep.set_box_aspect(None, zoom=1.2)
        deep.set_zlim(lowest, HIGHEST_DRAWN)
        deep.set_xlabel("direction 1", fontsize=8)
        deep.set_ylabel("direction 2", fontsize=8)
        deep.tick_params(labelsize=7)
    figure.colorbar(drawn, ax=figure.axes[0::2], label="loss", shrink=0.7, format="%.1f")
    return figure


def widths(table: Table) -> list[Row]:
    """Loss, width of the basin, bent share and sharpness of every run."""
    return [
        {
            "network": network,
            "layers": layers,
            "seed": seed,
            "loss": float(loss[POINTS // 2, POINTS // 2]),
            "width": basin_width(loss),
            "bent": bent_share(loss),
            "sharpness": sharpness(loss),
        }
        for network, layers, seed, loss in surfaces(table)
    ]


def say(table: Table) -> str:
    """What was seen, in a paragraph."""
    measured = widths(table)
    sentences = []
    for network in names(table):
        for layers in values(table, "layers"):
            rows = where(measured, network=network, layers=int(layers))
            (loss, loss_sd), (width, width_sd), (bent, _), (sharp, sharp_sd) = (
                mean(rows, name) for name in ("loss", "width", "bent", "sharpness")
            )
            sentences.append(
                f"`{network}` with {layers} layers ends at a loss of {loss:.2f} ± {loss_sd:.2f} in "
                f"a basin {width:.2f} ± {width_sd:.2f} wide, its sharpness {sharp:.3f} ± "
                f"{sharp_sd:.3f}; {100 * bent:.0f} % of its plane bends downwards"
            )
    first, *others = names(table)
    for layers in values(table, "layers"):
        base = where(measured, network=first, layers=int(layers))
        for other in others:
            rise = change(base, where(measured, network=other, layers=int(layers)), "sharpness")
            verdict = "is sharper than" if rises(rise) else "is not shown to differ from"
            verdict = "is flatter than" if falls(rise) else verdict
            sentences.append(f"With {layers} layers `{other}` {verdict} `{first}`"
                             f" ({in_words(rise)})")  # fmt: skip
    return (
        ". ".join(sentences) + f". A basin is where the loss is at most {RISE} above that of the "
        "trained weights, its width in lengths of the weights; sharpness is the mean rise within "
        f"{NEAR} of that length. A network that has learned little can lie in a wide and flat one, "
        "so read them together with the loss."
    )


STUDY = Study(
    name="landscape", jobs=every_job, measure=measure, draw=draw, say=say, condensed=widths
)
