"""Drawings of scores for pages: their spread over cases, and calibration."""

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.evaluation.scores import Evaluation, Summary
from training.reports.curves import Ink

MOST_CLASSES = 12
"""That are drawn; where there are more, only all of them together are."""
SPREAD = 0.28
"""Height over which the points of a class are spread, so that they do not hide each other."""
LINES = ("-", "--", "-.", ":")


def draw_spread(evaluation: Evaluation, ink: Ink) -> bytes:
    """A point a case, with mean and interval, one row a class, as SVG on no background."""
    names = _drawn(evaluation)
    figure = Figure(figsize=(10, 0.9 + 0.55 * len(names)), layout="constrained")
    axes = figure.subplots()
    for row, name in enumerate(names):
        known = [s.dice for c in evaluation.cases if (s := c.region(name)) and s.dice is not None]
        # the same places in every drawing: golden-ratio steps never lie close together
        heights = row + SPREAD * ((np.arange(len(known)) * 0.618034) % 1 - 0.5)
        axes.scatter(known, heights, s=18, color=ink.line, alpha=0.55, linewidths=0)
        _draw_mean(axes, row, evaluation.summary[name], ink)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(-0.01, 1.01)
    axes.set_xlabel("Dice", color=ink.text)
    return _svg(figure, axes, ink)


def _draw_mean(axes: Axes, row: int, summary: Summary, ink: Ink) -> None:
    if summary.dice is not None and summary.interval:
        axes.plot(
            summary.interval, (row, row), color=ink.text, linewidth=2.2, solid_capstyle="butt"
        )
        axes.plot(summary.dice, row, "o", color=ink.text, markersize=5)
    if summary.floor is not None:
        axes.plot([summary.floor] * 2, (row - 0.22, row + 0.22), color=ink.mark, linewidth=1.8)


def draw_reliability(evaluation: Evaluation, ink: Ink) -> bytes:
    """Accuracy over confidence, one line a class, as SVG on no background."""
    known = [
        (name, found)
        for name in _drawn(evaluation)
        if (found := evaluation.summary[name].reliability)
    ]
    figure = Figure(figsize=(5, 4.4), layout="constrained")
    axes = figure.subplots()
    axes.plot((0, 1), (0, 1), color=ink.grid, linewidth=1.4)
    for number, (name, found) in enumerate(known):
        pairs = [
            (said, true)
            for said, true in zip(found.confidence, found.accuracy, strict=True)
            if said is not None and true is not None
        ]
        axes.plot(
            *zip(*pairs, strict=True),
            color=ink.line if number % 2 == 0 else ink.mark,
            linestyle=LINES[number // 2 % len(LINES)],
            marker="o",
            markersize=3.5,
            linewidth=1.6,
            label=name,
        )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_aspect("equal")
    axes.set_xlabel("probability that the model gave", color=ink.text)
    axes.set_ylabel("share that belongs to the class", color=ink.text)
    axes.legend(loc="upper left", labelcolor=ink.text, frameon=False, fontsize=9)
    return _svg(figure, axes, ink)


def _drawn(evaluation: Evaluation) -> list[str]:
    names = list(evaluation.summary)
    return names if len(names) <= MOST_CLASSES + 1 else names[-1:]


def _svg(figure: Figure, axes: Axes, ink: Ink) -> bytes:
    axes.tick_params(colors=ink.text, length=0)
    axes.grid(color=ink.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)
    content = io.BytesIO()
    figure.savefig(content, format="svg", transparent=True, metadata={"Date": None})
    return content.getvalue()
