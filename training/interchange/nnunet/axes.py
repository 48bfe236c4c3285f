"""From the axes of another program's network to those of the images' files.

nnU-Net turns volumes so that the thickest axis comes first, and its 2D networks look at one slice
of a volume after the other. Kernels can be turned in place of the volume, and a 2D network is a 3D
network whose patch is one voxel deep; so packages take images as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

Value = TypeVar("Value")
Filling = TypeVar("Filling")


@dataclass(frozen=True, slots=True)
class AxisMap:
    """For each spatial axis of a file, the network's axis that it is; None: a slice at a time."""

    sources: tuple[int | None, ...]

    @classmethod
    def of_plans(cls, transpose_backward: Sequence[int], dims: int, *, flat: bool) -> "AxisMap":
        """That of nnU-Net's plans.

        Args:
            transpose_backward: of the plans.
            dims: spatial axes of the network.
            flat: images are 2D, so that the first of nnU-Net's axes is none of theirs.
        """
        if flat:
            return cls(tuple(range(dims)))
        dropped = 3 - dims
        return cls(tuple(None if a < dropped else a - dropped for a in transpose_backward))

    def numbers(self, of_network: Sequence[Value], filling: Filling) -> tuple[Value | Filling, ...]:
        """One number an axis of the network, in the file's order; ``filling`` where it has none."""
        return tuple(filling if axis is None else of_network[axis] for axis in self.sources)

    def axes(self, of_network: Sequence[int]) -> tuple[int, ...]:
        """Axes of the network by their place in the file."""
        return tuple(j for j, axis in enumerate(self.sources) if axis in of_network)

    def kernel(self, weight: Tensor) -> Tensor:
        """A convolution's weight, ``(out, in, *kernel)``, turned."""
        turned = weight.permute(0, 1, *(2 + axis for axis in self.sources if axis is not None))
        for place, axis in enumerate(self.sources):
            if axis is None:
                turned = turned.unsqueeze(2 + place)
        return turned.contiguous()
