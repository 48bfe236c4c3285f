"""Which intensities hold no class: air, what lies outside of a scan, glass.

Windows of nothing else need no network when a whole image is segmented.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool
from pydantic import BaseModel, ConfigDict

from seg.images import Image
from seg.model_package import Channel, Empty

AIR_HU = -900.0
"""Above the noise of air (-1000), below the lung (-850)."""
SMALLEST_SHARE = 0.02
"""Of the voxels: where there is less emptiness, hardly a window is full of it."""


class Extreme(BaseModel):
    """The intensity at one end, if it is the same in all cases, as of air that is cut off at 0."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    intensity: float
    share: float
    """Of all voxels: those that have it in every channel."""


class Ends(BaseModel):
    """How dark and how bright images get, in all channels at once, and their foreground."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    darkest: Extreme | None
    brightest: Extreme | None
    foreground: tuple[float, float] | None
    """Each voxel of the foreground is as bright as the first in some channel, and as dark as the
    second in some channel. Voxels without annotation count as foreground."""


class EndsMeter:
    """Sees the cases one by one."""

    def __init__(self) -> None:
        self._low: list[Extreme] = []
        self._high: list[Extreme] = []
        self._foreground = (np.inf, -np.inf)

    def take(self, image: Image, foreground: Bool[np.ndarray, "*spatial"]) -> None:
        """Look at a case."""
        brightest, darkest = image.array.max(axis=0), image.array.min(axis=0)
        low, high = brightest.min(), darkest.max()
        self._low.append(Extreme(intensity=low, share=np.mean(brightest == low)))
        self._high.append(Extreme(intensity=high, share=np.mean(darkest == high)))
        if foreground.any():
            self._foreground = (
                min(self._foreground[0], float(brightest[foreground].min())),
                max(self._foreground[1], float(darkest[foreground].max())),
            )

    def add(self, other: "EndsMeter") -> None:
        """Take over what another has seen."""
        self._low += other._low
        self._high += other._high
        low, high = other._foreground
        self._foreground = (min(self._foreground[0], low), max(self._foreground[1], high))

    def result(self) -> Ends:
        """What all cases have in common."""
        known = bool(np.isfinite(self._foreground).all())
        return Ends(
            darkest=_shared(self._low),
            brightest=_shared(self._high),
            foreground=self._foreground if known else None,
        )


def known_empty(channels: Sequence[Channel], ends: Ends | None) -> Empty | None:
    """Limits beyond which no training case has a class; None where there are none.

    In CT the limit is that of air. Other images have no scale of their own, so only an intensity
    that ends the range of every case is trusted, such as the 0 around a brain.
    """
    if ends is None or ends.foreground is None:
        return None
    lowest, highest = ends.foreground
    count = len(channels)
    if all(channel.modality.upper() == "CT" for channel in channels) and lowest > AIR_HU:
        return Empty(side="below", limits=(AIR_HU,) * count)
    found = []
    if ends.darkest and ends.darkest.intensity < lowest:
        found.append((ends.darkest, Empty(side="below", limits=(ends.darkest.intensity,) * count)))
    if ends.brightest and ends.brightest.intensity > highest:
        limits = (ends.brightest.intensity,) * count
        found.append((ends.brightest, Empty(side="above", limits=limits)))
    share, rule = max(
        ((extreme.share, rule) for extreme, rule in found),
        key=lambda each: each[0],
        default=(0.0, None),
    )
    return rule if share >= SMALLEST_SHARE else None


def _shared(extremes: Sequence[Extreme]) -> Extreme | None:
    if len({each.intensity for each in extremes}) != 1:
        return None
    share = float(np.mean([each.share for each in extremes]))
    return Extreme(intensity=extremes[0].intensity, share=share)
