"""What the variants of a package gain and cost: a table for the terminal, and a page."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from seg.files import replace_file
from seg.metrics import Estimate, bootstrap_mean
from seg.networks import UNetConfig
from training.evaluation.measure import SEED
from training.reports.curves import Ink, style_axes
from training.reports.pages import on_light_and_dark, render
from training.run.job import TrainingJob
from training.variants.write import Elastic, MeasuredVariant

REPORT_FILE = "report.html"
LINES = ("-", "--", "-", "--")
"""Of the curves of Dice against time."""


@dataclass(frozen=True)
class Row:
    """A variant in the table."""

    name: str
    what: str
    dice: float
    lost: Estimate
    """Dice lost against the first variant in the same case, with its interval over cases."""
    by_class: dict[str, str]
    milliseconds: float | None
    speed: float | None
    """Times as fast as the first."""
    gigaflops: float
    megabytes: float | None
    kept: bool
    objects: float | None
    """Average precision at one half of the objects that it tells apart."""
    family: str
    """Variants that differ in depth alone."""


def rows_of(elastic: Elastic, classes: Sequence[str]) -> list[Row]:
    """The table, in the order in which the variants were made."""
    first = elastic.measured[0]
    sizes = {v.name: v.megabytes for v in elastic.finished.package.card.variants}
    return [_row(each, first, sizes.get(each.made.name), classes) for each in elastic.measured]


def _row(
    variant: MeasuredVariant,
    first: MeasuredVariant,
    megabytes: float | None,
    classes: Sequence[str],
) -> Row:
    point, reference = variant.point(classes), first.point(classes)
    is_timed = point.milliseconds is not None and reference.milliseconds is not None
    summary, made = variant.evaluation.summary, variant.made
    return Row(
        name=point.name,
        what=_in_words(variant),
        dice=point.dice,
        lost=_lost(variant, first),
        by_class={
            name: f"{dice:.3f}" + (f" ({ci[0]:.3f} to {ci[1]:.3f})" if ci else "")
            for name in classes
            for dice, ci in [(summary[name].dice, summary[name].interval)]
            if dice is not None
        },
        milliseconds=point.milliseconds,
        speed=reference.milliseconds / point.milliseconds if is_timed else None,  # type: ignore[operator]
        gigaflops=made.gigaflops,
        megabytes=megabytes,
        kept=variant.kept,
        objects=point.objects,
        family=f"{'distilled' if made.source.distilled else 'cut'}, {made.precision}",
    )


def _in_words(each: MeasuredVariant) -> str:
    made, source = each.made, each.made.source
    blocks = len(source.network.droppable_blocks(reshaping=True))
    kind = f"{blocks} of {blocks + len(source.dropped)} blocks" if source.dropped else "whole"
    if source.distilled:
        config = source.network.config
        widths = config.features if isinstance(config, UNetConfig) else ()
        kind = f"{widths[0]} to {widths[-1]} features, distilled" if widths else "distilled"
    floats = f", {len(made.float_layers)} layers in float32" if made.float_layers else ""
    return f"{kind}, {made.precision}{floats}"


def _lost(each: MeasuredVariant, first: MeasuredVariant) -> Estimate:
    before = {case.case: case.mean_dice for case in first.evaluation.cases}
    lost = [
        before[case.case] - case.mean_dice  # type: ignore[operator]
        if case.mean_dice is not None and before[case.case] is not None
        else math.nan
        for case in each.evaluation.cases
    ]
    groups = [case.group for case in each.evaluation.cases]
    return bootstrap_mean(np.array(lost), np.random.default_rng(SEED), groups)


def variants_table(elastic: Elastic) -> str:
    """The table for a terminal; what is left out stands in brackets."""
    classes = list(elastic.measured[0].evaluation.cases[0].classes)
    rows = rows_of(elastic, classes)
    tell_apart = rows[0].objects is not None
    counted = f" {'AP .5':>6}" if tell_apart else ""
    head = f"{'95 % interval':>16}{counted} {'ms':>8} {'faster':>7}  what; in brackets: left out"
    lines = [f"{'variant':16} {'Dice':>6} {'lost':>7}  {head}"]
    for row in rows:
        name = row.name if row.kept else f"({row.name})"
        interval = f"{row.lost.low:+.4f} {row.lost.high:+.4f}"
        time = "-" if row.milliseconds is None else f"{row.milliseconds:.1f}"
        speed = "-" if row.speed is None else f"{row.speed:.2f}x"
        of_objects = f" {row.objects or 0:6.4f}" if tell_apart else ""
        lines.append(
            f"{name:16} {row.dice:6.4f} {row.lost.mean:+7.4f}  {interval:>16}{of_objects} "
            f"{time:>8} {speed:>7}  {row.what}"
        )
    return "\n".join(lines)


def write_variants_report(elastic: Elastic, job: TrainingJob) -> None:
    """Write ``report.html`` into the package: table, Pareto plot, lesion curve."""
    evaluation = elastic.finished.evaluation
    classes = list(evaluation.cases[0].classes)
    rows = rows_of(elastic, classes)
    path = elastic.finished.package.path / REPORT_FILE
    page = render(
        "variants.html.j2",
        evaluation,
        job.dataset,
        card=elastic.finished.package.card,
        rows=rows,
        classes=classes,
        lesions_tables={
            "this run": elastic.lesions.path,
            **({"other run": elastic.compared.path} if elastic.compared else {}),
        },
        front=on_light_and_dark(lambda ink: draw_front(rows, ink)),
        curve=on_light_and_dark(lambda ink: draw_lesions(elastic, ink)),
    )
    replace_file(path, page)


def draw_front(rows: Sequence[Row], ink: Ink) -> bytes:
    """Dice against time, as SVG."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    timed = [row for row in rows if row.milliseconds is not None]
    for number, family in enumerate(dict.fromkeys(row.family for row in timed)):
        colour, style = (ink.line, ink.mark)[family.startswith("distilled")], LINES[number % 4]
        curve = sorted((row.milliseconds or 0.0, row.dice) for row in timed if row.family == family)
        axes.plot(*zip(*curve, strict=True), style, color=colour, linewidth=1.5, label=family)
    for row in timed:
        colour = ink.mark if row.family.startswith("distilled") else ink.line
        axes.plot(
            row.milliseconds or 0.0, row.dice, "o", color=colour, markersize=7,
            markerfacecolor=colour if row.kept else "none",
        )  # fmt: skip
        axes.annotate(
            row.name, (row.milliseconds or 0.0, row.dice), xytext=(6, 5),
            textcoords="offset points", fontsize=9, color=ink.text,
        )  # fmt: skip
    axes.legend(frameon=False, labelcolor=ink.text, fontsize=9, loc="lower right")
    axes.set_xscale("log")
    for set_formatter in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        set_formatter(ScalarFormatter())  # 20, not 2 x 10^1
    _label(axes, "milliseconds a patch", "Dice, test cases", "Dice against time", ink)
    axes.tick_params(axis="x", which="both", colors=ink.text, labelsize=9)
    return _svg(figure)


def draw_lesions(elastic: Elastic, ink: Ink) -> bytes:
    """Dice against the compute that is left, as SVG."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    path, blocks = figure.subplots(1, 2)
    whole = elastic.lesions.whole
    cuts = elastic.lesions.path
    path.plot([100 * c.flops / whole.flops for c in cuts], [c.dice for c in cuts], "o-",
              color=ink.line, label="this run")  # fmt: skip
    if elastic.compared:
        other = elastic.compared
        left = [100 * cut.flops / other.whole.flops for cut in other.path]
        path.plot(left, [c.dice for c in other.path], "s--", color=ink.mark, label="other run")
        path.legend(frameon=False, labelcolor=ink.text, fontsize=9)
    path.invert_xaxis()
    _label(path, "% of the operations that are left", "Dice, training windows",
           "Dropping blocks one after another", ink)  # fmt: skip
    alone = elastic.lesions.alone
    blocks.bar(range(1, len(alone) + 1), [whole.dice - c.dice for c in alone], color=ink.line)
    _label(blocks, "block", "Dice lost", "Without one block", ink)
    return _svg(figure)


def _label(axes: Axes, x: str, y: str, title: str, ink: Ink) -> None:
    axes.set_title(title, fontsize=11, color=ink.text)
    axes.set_xlabel(x, color=ink.text)
    axes.set_ylabel(y, color=ink.text)
    style_axes(axes, ink)


def _svg(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="svg", transparent=True, metadata={"Date": None})
    return content.getvalue()
