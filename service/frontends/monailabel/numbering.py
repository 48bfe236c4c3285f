"""How classes are numbered for viewers: 1, 2, 3, ... without gaps.

3D Slicer sorts the names of an answer by their numbers and gives the n-th name the voxels of value
n, so a gap would shift every later organ to its neighbour's name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Integer, Shaped

from seg.images import ClassInfo
from seg.model_package import ModelCard
from service.problems.response import Problem


@dataclass(frozen=True)
class Numbering:
    """Classes in the order of their numbers, from 1 on."""

    classes: tuple[ClassInfo, ...]

    @classmethod
    def of(cls, card: ModelCard) -> Self:
        """All classes of a model but the background, by their index."""
        return cls(tuple(sorted((c for c in card.classes if c.index), key=lambda c: c.index)))

    @property
    def labels(self) -> Mapping[str, int]:
        """Numbers by name."""
        return {entry.name: number for number, entry in enumerate(self.classes, start=1)}

    def chosen(self, numbers: Sequence[int]) -> Self:
        """Some of the classes, in that order.

        Raises:
            Problem: 422, a number is of no class, or there twice.
        """
        if not numbers or len(set(numbers)) < len(numbers):
            raise Problem(422, "label_prompt lists numbers of classes, each once")
        if any(not 1 <= number <= len(self.classes) for number in numbers):
            raise Problem(
                422, f"label_prompt lists numbers of classes, from 1 to {len(self.classes)}"
            )
        return type(self)(tuple(self.classes[number - 1] for number in numbers))

    def apply(self, indices: Shaped[np.ndarray, "..."]) -> Integer[np.ndarray, "..."]:
        """The model's indices as these numbers; classes that have none become background."""
        table = np.zeros(256, np.uint8)
        for number, entry in enumerate(self.classes, start=1):
            table[entry.index] = number
        return table[indices.astype(np.uint8)]

    def renumbered(self, background: ClassInfo) -> tuple[ClassInfo, ...]:
        """The classes with these numbers as their indices, behind the background."""
        numbered = (
            entry.model_copy(update={"index": number})
            for number, entry in enumerate(self.classes, start=1)
        )
        return (background, *numbered)
