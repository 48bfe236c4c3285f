"""Which variants are worth shipping: none that another one beats in Dice and in time.

Of a network that tells objects apart a variant must find them too: what it says of the borders
between them, a few voxels of each, hardly changes its Dice.
"""

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
    objects: float | None = None
    """Average precision at one half, mean over the classes; None where it tells none apart."""
    an_object: float = 0.0
    """What one object more or less changes of that, about."""


def front(points: Sequence[Point], most_lost: float) -> list[Point]:
    """The first point, and all others that no point beats, the best Dice first.

    Args:
        points: the network as it was trained comes first; it is the reference and always stays.
        most_lost: Dice that a variant may lose against it; of the precision of its objects as much,
            give or take an object.
    """
    reference, *others = points
    assert reference.milliseconds is not None
    fastest = reference.milliseconds
    kept = [reference]
    good = [each for each in others if _is_good(each, reference, most_lost)]
    for each in sorted(good, key=lambda point: (-point.dice, point.milliseconds or 0.0)):
        if each.milliseconds is None:
            kept.append(each)
        elif each.milliseconds <= FASTER * fastest:
            kept.append(each)
            fastest = each.milliseconds
    return kept


def _is_good(point: Point, reference: Point, most_lost: float) -> bool:
    lost = (reference.objects or 0.0) - (point.objects or 0.0)
    return point.dice >= reference.dice - most_lost and lost <= most_lost + reference.an_object
