"""What a score is given for: each foreground class, and all of them together."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Integer, UInt8

from training.dataset import IGNORE, Legend

FOREGROUND = "foreground"
_FOREGROUND_ELSE = "any foreground class"
"""Where a class is itself called foreground."""


@dataclass(frozen=True, slots=True)
class Region:
    """A part of an image, in the labels of a reference and in the classes of a painted mask."""

    labels: tuple[int, ...]
    classes: tuple[int, ...]
    is_together: bool = False
    """All foreground classes, of which each is a region too."""

    def referred(self, labels: UInt8[np.ndarray, "*spatial"]) -> Bool[np.ndarray, "*spatial"]:
        """Where it is, by a reference's labels."""
        return np.isin(labels, self.labels)

    def predicted(
        self, painted: Integer[np.ndarray, "*spatial"], labels: UInt8[np.ndarray, "*spatial"]
    ) -> Bool[np.ndarray, "*spatial"]:
        """Where a mask shows it, of the voxels that somebody annotated."""
        shown: Bool[np.ndarray, "*spatial"] = np.isin(painted, self.classes) & (labels != IGNORE)
        return shown


def regions(legend: Legend) -> Mapping[str, Region]:
    """Every foreground class by its name, then all of them together."""
    found = {
        info.name: Region(legend.labels_of(info.index), _shown_by(legend, info.index))
        for info in legend.classes[1:]
    }
    together = foreground_name(legend)
    if together:
        found[together] = Region(
            tuple(range(1, legend.num_labels)),
            tuple(range(1, len(legend.classes))),
            is_together=True,
        )
    return found


def _shown_by(legend: Legend, index: int) -> tuple[int, ...]:
    """Classes that lie wholly in this one: where they are painted over it, it is there too."""
    labels = set(legend.labels_of(index))
    return tuple(
        other.index
        for other in legend.classes[1:]
        if labels.issuperset(legend.labels_of(other.index))
    )


def foreground_name(legend: Legend) -> str | None:
    """The name of all foreground classes together; None where there is but one."""
    foreground = [each.name for each in legend.classes[1:]]
    if len(foreground) < 2:
        return None
    return FOREGROUND if FOREGROUND not in foreground else _FOREGROUND_ELSE
