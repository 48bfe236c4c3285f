"""Which variants are worth shipping: none that another one beats in Dice and in time."""

from collections.abc import Sequence
from dataclasses import dataclass

FASTER = 0.95
"""A variant of lower Dice must need at most this share of the time; less is noise."""


@dataclass(frozen=True)
class Point:
    """A variant as it was measured."""

    name: str
    dice: float
    """Mean over the foreground classes, on the test cases."""
    milliseconds: float | None
    """A patch; None where this machine cannot run it as it is meant to be run."""


def front(points: Sequence[Point], most_lost: float) -> list[Point]:
    """The first point, and all others that no point beats, the best Dice first.

    Args:
        points: the network as it was trained comes first; it is the reference and always stays.
        most_lost: Dice that a variant may lose against it.
    """
    reference, *others = points
    assert reference.milliseconds is not None
    fastest = reference.milliseconds
    kept = [reference]
    good = [each for each in others if each.dice >= reference.dice - most_lost]
    for each in sorted(good, key=lambda point: (-point.dice, point.milliseconds or 0.0)):
        if each.milliseconds is None:
            kept.append(each)
        elif each.milliseconds <= FASTER * fastest:
            kept.append(each)
            fastest = each.milliseconds
    return kept
