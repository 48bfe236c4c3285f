"""What objects must show to be some: data of ``model.json``."""

from typing import Annotated, Literal

from pydantic import Field

from seg.frozen import FrozenData


class ObjectLevel(FrozenData):
    """An intensity that objects reach."""

    side: Literal["above", "below"]
    """Where they are: above on dark ground, below on bright one."""
    limit: float
    """As the network sees intensities."""


class StandsOut(FrozenData):
    """What tells an object from the noise of an empty image.

    A network that normalises its features by their own deviation finds some in any noise. Where
    every object of the training held an intensity that no background has, nothing is an object that
    has none near.
    """

    levels: Annotated[tuple[ObjectLevel | None, ...], Field(min_length=1)]
    """One a channel, None where it does not matter; one that is reached is enough."""
    smoothing: tuple[Annotated[int, Field(ge=1)], ...]
    """Voxels over which intensities are averaged before, one number a spatial axis."""
    core: tuple[Annotated[int, Field(ge=1)], ...]
    """Voxels, one number a spatial axis, of a box that reaches the level everywhere: what shines
    and is smaller is a speck."""
    reach: tuple[Annotated[int, Field(ge=0)], ...]
    """Voxels within which of a voxel of an object such a box is centred, one number an axis."""
    classes: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    """Indices of the classes whose objects it is about, where those of others do not stand out;
    None for all."""
