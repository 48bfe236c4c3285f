"""Pictures of a case: the image, and masks drawn on it as outlines."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Integer, UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from seg.files import replace_file
from seg.images import ClassInfo, Image, Mask
from seg.images.pictures.overlay import as_rgb, fullest_slice
from training.dataset import IGNORE

LONGEST_EDGE = 1200
"""Pixels of a picture's longer edge at most; larger images are thinned out."""
PANEL_PIXELS = 640
"""Width of one panel."""
WIDE = 1.7
"""Width over height from which pictures are put below each other."""
DPI = 100
COMPARISON_DPI = 150
OUTLINE_PIXELS = 1.3
"""Width of an outline in pixels of the image, so that it never covers small objects ..."""
OUTLINE_POINTS = (0.8, 2.0)
"""... and is neither too thin nor too thick to be seen."""
FILL = 0.18
"""Share of a class's colour inside its outline, so that inside and outside are told apart."""
UNKNOWN = (0.5, 0.5, 0.5, 0.6)
"""Red, green, blue and opacity of what nobody annotated."""


@dataclass(frozen=True, eq=False)
class View:
    """A flat picture of a case with both masks, small enough to be shown."""

    picture: UInt8[np.ndarray, "y x 3"]
    reference: Integer[np.ndarray, "y x"]
    prediction: Integer[np.ndarray, "y x"]
    shape: tuple[float, float]
    """Height and width as they are in the world, in any unit."""
    upside_down: bool
    """The first row belongs at the bottom."""
    place: str
    """Which slice of a volume; empty for an image."""

    @property
    def is_wide(self) -> bool:
        """Pictures of it are better put below each other."""
        return self.shape[1] > WIDE * self.shape[0]


def view_of(image: Image, reference: Mask, prediction: Mask) -> View:
    """The whole of an image; of a volume the slice with the most foreground."""
    channels, place = image.array, ""
    masks = [reference.array, prediction.array]
    if image.dims == 3:
        z = fullest_slice(np.where(reference.array == IGNORE, 0, reference.array))
        channels, masks = channels[:, z], [mask[z] for mask in masks]
        place = f"slice {z + 1} of {image.spatial_shape[0]}"
    height, width = channels.shape[1:]
    step = -(-max(height, width) // LONGEST_EDGE)
    across = image.spacing[-2:] if image.spacing else (1.0, 1.0)
    return View(
        picture=as_rgb(channels[:, ::step, ::step]),
        reference=masks[0][::step, ::step],
        prediction=masks[1][::step, ::step],
        shape=(height * across[0], width * across[1]),
        # rows that run towards the front of the body are shown with the front on top
        upside_down=image.affine is not None and bool(image.affine[1, 1] > 0),
        place=place,
    )


def panel(
    view: View, labels: Integer[np.ndarray, "y x"] | None, classes: Sequence[ClassInfo]
) -> bytes:
    """The picture with outlines, without a margin, as WebP."""
    height, width = view.shape
    figure = Figure(figsize=(PANEL_PIXELS / DPI, PANEL_PIXELS / DPI * height / width), dpi=DPI)
    draw(figure.add_axes((0, 0, 1, 1)), view, labels, classes)
    return encoded(figure, format="webp", pil_kwargs={"quality": 88})


def write_comparison(path: Path, view: View, classes: Sequence[ClassInfo], title: str) -> None:
    """Write image, reference and prediction beside each other as PNG, with a legend."""
    height, width = view.shape
    rows, columns = (3, 1) if view.is_wide else (1, 3)
    edge = 4.2 if columns == 3 else 9.0
    figure = Figure(
        figsize=(columns * edge, rows * (edge * height / width + 0.3) + 0.8),
        dpi=COMPARISON_DPI,
        layout="constrained",
    )
    figure.suptitle(title, fontsize=13)
    panels = (("image", None), ("reference", view.reference), ("prediction", view.prediction))
    for number, (name, labels) in enumerate(panels, start=1):
        axes = figure.add_subplot(rows, columns, number)
        draw(axes, view, labels, classes)
        axes.set_title(name, fontsize=12)
    add_legend(figure, classes)
    replace_file(path, encoded(figure, format="png", facecolor="white"))


def add_legend(figure: Figure, classes: Sequence[ClassInfo]) -> None:
    """The names of the foreground classes in their colours, below everything."""
    lines = [Line2D([], [], color=color_of(each), linewidth=3) for each in classes[1:]]
    figure.legend(
        lines,
        [each.name for each in classes[1:]],
        loc="outside lower center",
        ncols=min(len(lines), 6),
        frameon=False,
        fontsize=12,
    )


def color_of(info: ClassInfo) -> tuple[float, float, float]:
    """A class's colour as matplotlib wants it."""
    red, green, blue = info.color
    return red / 255, green / 255, blue / 255


def draw(
    axes: Axes,
    view: View,
    labels: Integer[np.ndarray, "y x"] | None,
    classes: Sequence[ClassInfo],
) -> None:
    """The picture on axes of its own, with filled outlines where labels are given."""
    axes.set_axis_off()
    rows, columns = view.picture.shape[:2]
    height, width = view.shape
    aspect = (height / rows) / (width / columns)
    axes.imshow(view.picture, aspect=aspect)
    if labels is not None:
        axes.imshow(_tint(labels, classes), aspect=aspect)
        figure = axes.get_figure(root=True)
        assert figure is not None
        points_a_pixel = 72 * axes.bbox.width / figure.dpi / columns
        outline = float(np.clip(OUTLINE_PIXELS * points_a_pixel, *OUTLINE_POINTS))
        for info in classes[1:]:
            _outline(axes, labels == info.index, color_of(info), outline)
    axes.set_xlim(-0.5, columns - 0.5)
    bottom, top = rows - 0.5, -0.5
    axes.set_ylim((top, bottom) if view.upside_down else (bottom, top))


def _tint(labels: Integer[np.ndarray, "y x"], classes: Sequence[ClassInfo]) -> np.ndarray:
    """Class colours as red, green, blue and opacity."""
    colors = np.zeros((IGNORE + 1, 4))
    for info in classes[1:]:
        colors[info.index] = (*color_of(info), FILL)
    colors[IGNORE] = UNKNOWN
    return np.asarray(colors[labels], dtype=np.float32)


def _outline(
    axes: Axes, inside: np.ndarray, color: tuple[float, float, float], linewidth: float
) -> None:
    if not inside.any():
        return
    # a border of nothing closes the outlines of what touches the edge
    bordered = np.pad(inside.astype(np.float32), 1)
    columns, rows = np.arange(-1, inside.shape[1] + 1), np.arange(-1, inside.shape[0] + 1)
    axes.contour(columns, rows, bordered, levels=[0.5], colors=[color], linewidths=linewidth)


def encoded(figure: Figure, **options: Any) -> bytes:
    """The figure as a file's bytes."""
    FigureCanvasAgg(figure)
    content = io.BytesIO()
    figure.savefig(content, **options)
    return content.getvalue()
