"""Networks beside each other that have one loss and one Dice a training: bars and sentences."""

from matplotlib.figure import Figure

from training.studies.plots import colour, name_axes, panels
from training.studies.runs import Table
from training.studies.tables import change, falls, in_words, mean, names, rises, where


def bars(table: Table) -> Figure:
    """Final loss and Dice of each network, with the spread over seeds."""
    figure, axes = panels(2)
    for panel, column, title in zip(
        axes, ("loss", "dice"), ("Final loss", "Held-back patches"), strict=True
    ):
        for place, network in enumerate(names(table)):
            middle, spread = mean(where(table, network=network), column)
            panel.barh(place, middle, xerr=spread, color=colour(network), capsize=3)
        panel.set_yticks(range(len(names(table))), names(table))
        panel.invert_yaxis()
        name_axes(panel, "training loss, last steps" if column == "loss" else "Dice", "", title)
    return figure


def against_first(table: Table) -> str:
    """Each network against the first of the table, in a sentence each."""
    first, *others = names(table)
    base = where(table, network=first)
    text = f"`{first}`: loss {mean(base, 'loss')[0]:.3f}, Dice {mean(base, 'dice')[0]:.3f}."
    for network in others:
        rows = where(table, network=network)
        loss, dice = (change(base, rows, column) for column in ("loss", "dice"))
        better, worse = falls(loss) or rises(dice), rises(loss) or falls(dice)
        verdict = "no difference is shown"
        if better != worse:
            verdict = "better" if better else "worse"
        text += (
            f" `{network}`: loss {mean(rows, 'loss')[0]:.3f} ({in_words(loss)}), Dice "
            f"{mean(rows, 'dice')[0]:.3f} ({in_words(dice)}): {verdict}."
        )
    return text
