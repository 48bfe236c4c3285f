"""What a score is given for: each foreground class, and all of them together.

A region is a set of class indices. Letters: ``k`` classes.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int64

from seg.images import ClassInfo

FOREGROUND = "foreground"
_FOREGROUND_ELSE = "any foreground class"
"""Where a class is itself called foreground."""


def regions(classes: Sequence[ClassInfo]) -> Mapping[str, tuple[int, ...]]:
    """Name to class indices: every foreground class by its name, then all of them together."""
    found: dict[str, tuple[int, ...]] = {
        each.name: (each.index,) for each in classes if each.index > 0
    }
    together = foreground_name(classes)
    if together:
        found[together] = tuple(each.index for each in classes if each.index > 0)
    return found


def foreground_name(classes: Sequence[ClassInfo]) -> str | None:
    """The name of all foreground classes together; None where there is but one."""
    foreground = [each.name for each in classes if each.index > 0]
    if len(foreground) < 2:
        return None
    return FOREGROUND if FOREGROUND not in foreground else _FOREGROUND_ELSE


def confusion_of_region(
    confusion: Int64[np.ndarray, "k k"], indices: Sequence[int]
) -> Int64[np.ndarray, "2 2"]:
    """The confusion matrix with the region's classes taken for one and all others for one."""
    inside = np.zeros((len(confusion), 2), np.int64)
    inside[:, 0] = 1
    inside[list(indices)] = (0, 1)
    merged: Int64[np.ndarray, "2 2"] = inside.T @ confusion @ inside
    return merged
