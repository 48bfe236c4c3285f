"""The course of a training, out of its CSV logs. Letters: ``n`` logged steps."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure

MOST_POINTS = 400
"""Points of a curve; longer logs are averaged down."""
WINDOW_SHARE = 0.06
"""Width of the moving average, as a share of the logged steps."""
SMALLEST_WINDOW = 5


@dataclass(frozen=True, eq=False)
class Log:
    """What was logged, by step."""

    step: Float64[np.ndarray, " n"]
    loss: Float64[np.ndarray, " n"]
    dice: Float64[np.ndarray, " n"]
    """Of training patches; NaN where no patch of the batch has a class."""


@dataclass(frozen=True)
class Ink:
    """Colours that are readable on a page."""

    text: str
    grid: str
    line: str
    mark: str


INKS: Mapping[str, Ink] = {
    "light": Ink(text="#333a45", grid="#dde1e7", line="#0072b2", mark="#d55e00"),
    "dark": Ink(text="#c9d1db", grid="#3a424e", line="#56b4e9", mark="#e69f00"),
}


def read_log(folder: Path) -> Log | None:
    """The logs below a folder as one; None where nothing was logged.

    A run that was resumed leaves several: where they overlap, the later one holds.
    """
    rows: dict[float, tuple[float, float]] = {}
    # version_2 comes before version_10
    for path in sorted(folder.rglob("metrics.csv"), key=lambda each: (len(str(each)), str(each))):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row.get("loss") and row.get("step"):
                    rows[float(row["step"])] = (float(row["loss"]), float(row.get("dice") or "nan"))
    if not rows:
        return None
    steps = sorted(rows)
    loss, dice = np.array([rows[step] for step in steps]).T
    return Log(np.array(steps), loss, dice)


def draw_curves(log: Log, test_dice: float, ink: Ink) -> bytes:
    """Loss and Dice over steps as SVG on no background, with the test's Dice as a line."""
    figure = Figure(figsize=(10, 3.1), layout="constrained")
    loss, dice = figure.subplots(1, 2)
    _draw(loss, "loss", log.step, log.loss, ink)
    _draw(dice, "Dice", log.step, log.dice, ink)
    dice.set_ylim(0, 1)
    if np.isfinite(test_dice):
        dice.axhline(
            test_dice,
            color=ink.mark,
            linestyle="--",
            linewidth=1.4,
            label=f"whole test images {test_dice:.3f}",
        )
    dice.legend(loc="lower right", labelcolor=ink.text, frameon=False, fontsize=9)
    content = io.BytesIO()
    figure.savefig(content, format="svg", transparent=True, metadata={"Date": None})
    return content.getvalue()


def _draw(
    axes: Axes,
    name: str,
    steps: Float64[np.ndarray, " n"],
    values: Float64[np.ndarray, " n"],
    ink: Ink,
) -> None:
    known = np.isfinite(values)
    steps, values = steps[known], values[known]
    smooth = moving_average(values)
    bins = np.array_split(np.arange(len(steps)), min(len(steps), MOST_POINTS) or 1)
    x, raw, mean = (
        [array[each].mean() for each in bins if len(each)] for array in (steps, values, smooth)
    )
    axes.plot(x, raw, color=ink.line, alpha=0.3, linewidth=0.8)
    axes.plot(x, mean, color=ink.line, linewidth=1.8, label="training patches, moving average")
    axes.set_title(name, fontsize=11, color=ink.text)
    axes.set_xlabel("step", color=ink.text)
    style_axes(axes, ink)


def style_axes(axes: Axes, ink: Ink) -> None:
    """A quiet grid and no frame."""
    axes.tick_params(colors=ink.text, length=0)
    axes.grid(color=ink.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)


def moving_average(values: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Mean over a centred window, which is cut off at the ends."""
    width = min(len(values), max(SMALLEST_WINDOW, round(WINDOW_SHARE * len(values))))
    if not width:
        return values
    window = np.ones(width)
    sums = np.convolve(values, window, mode="same")
    return np.asarray(sums / np.convolve(np.ones(len(values)), window, mode="same"))
