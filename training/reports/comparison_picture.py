"""Two models side by side, a dot a case."""

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.evaluation.comparison import Comparison, _same_reference, _value
from training.evaluation.scores import MEASURES, Evaluation
from training.reports.curves import INKS

_LIMITS = "mean difference with its 95 % interval"


def draw_comparison(a: Evaluation, b: Evaluation, comparison: Comparison) -> bytes:
    """Dice of every case, A against B, and the differences by class, as PNG."""
    regions = list(comparison.says)
    figure = Figure(figsize=(11, max(4.4, 1.4 + 0.5 * len(regions))), dpi=140, layout="constrained")
    scatter, spread = figure.subplots(1, 2, width_ratios=(1, 1.5))
    ink = INKS["light"]
    of_a, of_b = ({case.case: case for case in each.cases} for each in (a, b))
    scatter.plot((0, 1), (0, 1), color=ink.grid, linewidth=1.4)
    spread.axvline(0, color=ink.text, linewidth=1)
    for row, region in enumerate(regions):
        pairs = np.array(
            [
                [_value(score, MEASURES[0]) for score in _same_reference(region, of_a[n], of_b[n])]
                for n in comparison.cases
            ]
        )
        scatter.scatter(*pairs.T, s=16, alpha=0.6, linewidths=0, label=region)
        heights = row + 0.28 * ((np.arange(len(pairs)) * 0.618034) % 1 - 0.5)
        spread.scatter(pairs[:, 1] - pairs[:, 0], heights, s=16, alpha=0.6, linewidths=0)
    dice = [each for each in comparison.differences if each.measure == "dice"]
    for row, each in enumerate(dice):
        if each.difference.ci95 is not None:
            spread.plot(each.difference.ci95, (row, row), color=ink.text, linewidth=2.2)
        spread.plot(each.difference.mean, row, "o", color=ink.text, markersize=5)
    spread.set_yticks(range(len(regions)), regions)
    spread.set_ylim(len(regions) - 0.5, -0.5)
    _label(scatter, f"Dice of A: {comparison.a}", f"Dice of B: {comparison.b}")
    _label(spread, f"B - A in Dice, cases and {_LIMITS}", "")
    scatter.set_aspect("equal")
    scatter.legend(loc="lower right", frameon=False, fontsize=8)
    content = io.BytesIO()
    figure.savefig(content, format="png", facecolor="white")
    return content.getvalue()


def _label(axes: Axes, x: str, y: str) -> None:
    ink = INKS["light"]
    axes.set_xlabel(x, fontsize=9, color=ink.text)
    axes.set_ylabel(y, fontsize=9, color=ink.text)
    axes.grid(color=ink.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=ink.text, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
