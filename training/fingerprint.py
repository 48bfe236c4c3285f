"""What the data look like, in numbers: the ground on which a plan stands.

Source: the fingerprint of Isensee et al., nnU-Net, Nature Methods 18 (2021).
"""

from collections.abc import Iterable, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from seg.errors import DatasetError
from seg.images import Image, Mask
from training.dataset.legend import IGNORE, Legend
from training.emptiness import Ends, EndsMeter

VOXELS_A_CASE = 100_000
"""Foreground voxels drawn from each case for the intensity statistics."""
PERCENTILES = (0.5, 99.5)


class ChannelStatistics(BaseModel):
    """Intensities of one channel in the foreground of the training cases."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: float
    std: float
    percentile_00_5: float
    percentile_99_5: float
    range: tuple[float, float]
    """The same percentiles over whole images: what an ordinary image holds."""


class Fingerprint(BaseModel):
    """Sizes, spacings, intensities and classes of a dataset's training cases."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cases: int
    shapes: tuple[tuple[int, ...], ...]
    """Sizes in voxels, one entry a case."""
    spacings: tuple[tuple[float, ...], ...] | None
    """In mm, one entry a case; None where the files do not say."""
    channels: tuple[ChannelStatistics, ...]
    class_shares: tuple[float, ...]
    """Share of all annotated voxels that each class has."""
    ends: Ends | None = None
    """None in runs that were begun before it was measured."""

    @property
    def dims(self) -> int:
        """2 or 3."""
        return len(self.shapes[0])

    @property
    def median_shape(self) -> tuple[int, ...]:
        """Median size in voxels."""
        return tuple(int(n) for n in np.median(self.shapes, axis=0))

    @property
    def median_spacing(self) -> tuple[float, ...] | None:
        """Median spacing in mm."""
        if self.spacings is None:
            return None
        return tuple(float(mm) for mm in np.median(self.spacings, axis=0))


def take_fingerprint(
    cases: Iterable[tuple[Image, Mask]], legend: Legend, rng: np.random.Generator
) -> Fingerprint:
    """Look once at every training case, one in memory at a time.

    Raises:
        DatasetError: there is no case, or cases differ in dimensions or channels.
    """
    shapes: list[tuple[int, ...]] = []
    spacings: list[tuple[float, ...] | None] = []
    foreground: list[np.ndarray] = []
    everything: list[np.ndarray] = []
    counts = np.zeros(IGNORE + 1, np.int64)
    ends = EndsMeter()
    for image, mask in cases:
        shapes.append(image.spatial_shape)
        spacings.append(image.spacing)
        counts += np.bincount(mask.array.ravel(), minlength=len(counts))
        ends.take(image, mask.array > 0)
        inside = (mask.array > 0) & (mask.array != IGNORE)
        if not inside.any():
            inside = np.ones(mask.array.shape, bool)
        foreground.append(_drawn(image.array[:, inside], rng))
        everything.append(_drawn(image.array.reshape(image.channels, -1), rng))
    _same_kind(shapes, everything)
    stated = [s for s in spacings if s is not None]
    return Fingerprint(
        cases=len(shapes),
        shapes=tuple(shapes),
        spacings=tuple(stated) if len(stated) == len(shapes) else None,
        channels=tuple(
            _statistics(inside, whole)
            for inside, whole in zip(
                np.concatenate(foreground, axis=1), np.concatenate(everything, axis=1), strict=True
            )
        ),
        class_shares=_shares(counts, legend),
        ends=ends.result(),
    )


def _shares(counts: np.ndarray, legend: Legend) -> tuple[float, ...]:
    annotated = max(1, int(counts[:IGNORE].sum()))
    foreground = counts @ legend.members()
    return (float(counts[0] / annotated), *(float(n / annotated) for n in foreground))


def _same_kind(shapes: Sequence[tuple[int, ...]], voxels: Sequence[np.ndarray]) -> None:
    if not shapes:
        raise DatasetError("the dataset has no training case; it needs images with masks")
    dims = {len(shape) for shape in shapes}
    channels = {len(v) for v in voxels}
    if len(dims) > 1 or len(channels) > 1:
        raise DatasetError(
            "all images of a dataset need the same dimensions and channels, got "
            f"{sorted(dims)} dimensions and {sorted(channels)} channels"
        )


def _drawn(voxels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if voxels.shape[1] <= VOXELS_A_CASE:
        return voxels.astype(np.float32)
    return voxels[:, rng.integers(voxels.shape[1], size=VOXELS_A_CASE)].astype(np.float32)


def _statistics(inside: np.ndarray, whole: np.ndarray) -> ChannelStatistics:
    low, high = np.percentile(inside, PERCENTILES)
    lowest, highest = np.percentile(whole, PERCENTILES)
    return ChannelStatistics(
        mean=float(inside.mean(dtype=np.float64)),
        std=float(inside.std(dtype=np.float64)),
        percentile_00_5=float(low),
        percentile_99_5=float(high),
        range=(float(lowest), float(highest)),
    )
