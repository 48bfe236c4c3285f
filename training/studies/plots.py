"""How the pictures of all studies look."""

import io
from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.studies.tables import Curve

COLOURS: Mapping[str, str] = {
    "none": "#d55e00",
    "identity": "#0072b2",
    "preact": "#56b4e9",
    "gated": "#009e73",
    "gated-channel": "#66c2a5",
    "highway": "#cc79a7",
    "dense": "#e69f00",
    "identity, stochastic depth": "#333333",
    "identity, drawn start": "#333333",
    "plain-1001": "#d55e00",
    "identity-1202": "#0072b2",
    "preact-1001": "#56b4e9",
    "plain, Glorot's start": "#d55e00",
    "residual, Glorot's start": "#0072b2",
    "residual, Glorot's start, branches drawn": "#333333",
    "plain, He's start": "#e69f00",
    "plain, He's start, normalised": "#cc79a7",
    "convolutions alone": "#0072b2",
    "4 attention blocks": "#009e73",
    "4 attention blocks, no shortcuts": "#d55e00",
    "resnet34": "#0072b2",
    "resnet152, same time": "#d55e00",
    "resnet152, same steps": "#e69f00",
    "background": "#7f7f7f",
    "nucleus": "#0072b2",
    "cytoplasm": "#e69f00",
}
"""Okabe and Ito's palette, which people see apart who don't see all colours."""
OTHER_COLOUR = "#7f7f7f"
MARKS = "osD^v<>P"


def colour(network: str) -> str:
    """The same for a network in every picture."""
    return COLOURS.get(network, OTHER_COLOUR)


def panels(columns: int, rows: int = 1, height: float = 4.0) -> tuple[Figure, list[Axes]]:
    """A figure of panels, row by row."""
    figure = Figure(figsize=(5.4 * columns, height * rows), layout="constrained", dpi=120)
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, list(axes.flat)


def plot(axes: Axes, network: str, points: Curve, *, line: str = "-", label: str = "") -> None:
    """A curve with error bars."""
    order = list(COLOURS).index(network) if network in COLOURS else len(COLOURS)
    axes.errorbar(
        points.x,
        points.mean,
        yerr=points.error,
        color=colour(network),
        linestyle=line,
        marker=MARKS[order % len(MARKS)],
        markersize=4,
        linewidth=1.6,
        elinewidth=1,
        capsize=2.5,
        label=label or network,
    )


def name_axes(axes: Axes, x: str, y: str, title: str = "") -> None:
    """Labels, a light grid, a legend where something has a name."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title, fontsize=11)
    axes.grid(color="#dde1e7", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8.5)


def as_file(figure: Figure, kind: str) -> bytes:
    """The figure as ``png`` or ``svg``."""
    content = io.BytesIO()
    figure.savefig(content, format=kind, metadata={"Date": None} if kind == "svg" else None)
    return content.getvalue()
