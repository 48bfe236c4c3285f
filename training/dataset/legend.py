"""What the numbers of a label map mean. Letters: ``k`` foreground classes."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8

from seg.images import ClassInfo
from seg.model_package import Task

IGNORE = 255
"""Label of voxels that nobody annotated: no loss and no score looks at them."""


@dataclass(frozen=True, slots=True)
class Legend:
    """Labels and the classes that they belong to.

    Where classes exclude each other, a label is a class's index. Where they overlap, a label is
    one combination of classes, 0 is none of them, so one number a voxel still says all.
    """

    classes: tuple[ClassInfo, ...]
    """Background first. Where classes overlap, later ones are painted over earlier ones."""
    regions: tuple[tuple[int, ...], ...] = ()
    """Where classes overlap: for each foreground class the labels that belong to it."""
    ignores: bool = False
    """Some voxels have the label ``IGNORE``."""

    @property
    def task(self) -> Task:
        """As in the model package."""
        return "regions" if self.regions else "exclusive"

    @property
    def outputs(self) -> int:
        """Channels of the network's logits."""
        return len(self.classes) - 1 if self.regions else len(self.classes)

    @property
    def num_labels(self) -> int:
        """Labels go from 0 up to this, ``IGNORE`` aside."""
        if not self.regions:
            return len(self.classes)
        return 1 + max(label for labels in self.regions for label in labels)

    def labels_of(self, index: int) -> tuple[int, ...]:
        """The labels that belong to a foreground class."""
        return self.regions[index - 1] if self.regions else (index,)

    def in_words(self, label: int) -> str:
        """The names of the classes that a label belongs to."""
        if label == IGNORE:
            return "ignore"
        names = [each.name for each in self.classes[1:] if label in self.labels_of(each.index)]
        return " and ".join(names) or self.classes[0].name

    def members(self) -> Bool[np.ndarray, "256 k"]:
        """For every label, ``IGNORE`` included, the foreground classes that it belongs to."""
        table = np.zeros((IGNORE + 1, len(self.classes) - 1), dtype=bool)
        for info in self.classes[1:]:
            table[list(self.labels_of(info.index)), info.index - 1] = True
        return table

    def painted(self, labels: UInt8[np.ndarray, "*spatial"]) -> UInt8[np.ndarray, "*spatial"]:
        """Class indices as a mask shows them, one a voxel; ``IGNORE`` stays what it is."""
        if not self.regions:
            return labels
        table = np.zeros(IGNORE + 1, np.uint8)
        for info in self.classes[1:]:
            table[list(self.labels_of(info.index))] = info.index
        table[IGNORE] = IGNORE
        painted: UInt8[np.ndarray, "*spatial"] = table[labels]
        return painted
