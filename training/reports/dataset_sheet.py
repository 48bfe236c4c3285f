"""A sheet of cases with their masks, so that a person sees at once what a dataset is."""

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from seg.files import replace_file
from seg.images import Mask
from training.dataset import Case, Dataset
from training.reports.case_pictures import DPI, View, add_legend, draw, encoded, view_of

MOST_CASES = 12
COLUMNS = 4
EDGE = 3.2
"""Inches of a picture's width."""


def write_overview(path: Path, dataset: Dataset, cases: Sequence[Case]) -> None:
    """Write a PNG of some of the cases, spread over all of them, masks in class colours.

    Args:
        path: of the picture.
        dataset: whose files are read, one case in memory at a time.
        cases: that can be read, at least one.

    Raises:
        DatasetError: a case cannot be read.
    """
    shown = [cases[i * len(cases) // MOST_CASES] for i in range(MOST_CASES)]
    shown = list({case.name: case for case in shown}.values())
    views = [_view(dataset, case) for case in shown]
    columns = min(COLUMNS, len(views))
    rows = math.ceil(len(views) / columns)
    tallest = max(view.shape[0] / view.shape[1] for view in views)
    figure = Figure(
        figsize=(columns * EDGE, rows * (EDGE * min(tallest, 2.0) + 0.4) + 0.9),
        dpi=DPI,
        layout="constrained",
    )
    counts = f"{len(dataset.train)} to train on, {len(dataset.test)} held back"
    figure.suptitle(f"{dataset.name}: {counts}")
    for number, (case, view) in enumerate(zip(shown, views, strict=True), start=1):
        axes = figure.add_subplot(rows, columns, number)
        draw(axes, view, view.reference, dataset.classes)
        axes.set_title(", ".join(filter(None, (case.name, case.split, view.place))), fontsize=8)
    add_legend(figure, dataset.classes)
    replace_file(path, encoded(figure, format="png", facecolor="white"))


def _view(dataset: Dataset, case: Case) -> View:
    image, labels = dataset.read(case)
    mask = Mask.on_grid_of(image, dataset.legend.painted(labels.array))
    return view_of(image, mask, mask)
