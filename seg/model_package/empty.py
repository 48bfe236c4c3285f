"""Which windows hold nothing, by their intensities."""

from typing import Literal

from seg.frozen import FrozenData


class Empty(FrozenData):
    """Intensities of air or glass: a window of nothing else holds no foreground.

    A window is empty where all its voxels are at the limit or beyond it, in every channel.
    """

    side: Literal["below", "above"]
    """Of the limits: air in CT and dark microscopes is below, glass in bright ones above."""
    limits: tuple[float, ...]
    """One a channel, in the intensities of the image's file."""
