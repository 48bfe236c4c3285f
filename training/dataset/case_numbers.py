"""The numbers of a case that make a fingerprint together with those of others.

Letters: ``c`` channels, ``n`` voxels that were drawn.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64, Real
from pydantic import BaseModel, ConfigDict

from seg.images import Image, Mask
from seg.images.grid.orientation import axis_codes
from seg.transforms.levels import Levels, noise_of
from training.dataset.cases import Case
from training.dataset.findings.emptiness import EndsMeter
from training.dataset.legend import IGNORE


class ImageStatistics(BaseModel):
    """Intensities of one channel of one whole image, in those of its file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: float
    deviation: float
    percentiles: tuple[float, ...]
    """Those of ``seg.transforms.levels``."""
    noise: float
    """Its deviation, by the differences of neighbours."""
    is_empty: bool = False
    """Whether no class is in the image."""


@dataclass(frozen=True, eq=False)
class CaseNumbers:
    """What is kept of a case."""

    shape: tuple[int, ...]
    spacing: tuple[float, ...] | None
    orientation: str | None
    """Axis codes."""
    foreground: Float32[np.ndarray, "c n"]
    """Some of its voxels in the foreground."""
    everything: Float32[np.ndarray, "c n"]
    """Some of all its voxels."""
    counts: Int64[np.ndarray, " values"]
    """Voxels of each label."""
    ends: EndsMeter
    images: tuple[ImageStatistics, ...]
    """One entry a channel."""


def numbers_of(case: Case, image: Image, mask: Mask, voxels: int) -> CaseNumbers:
    """Of a case with its files; the same whenever and in whatever order cases are read."""
    seed = int.from_bytes(hashlib.sha256(case.name.encode()).digest()[:8], "little")
    return take_numbers(image, mask, voxels, np.random.default_rng(seed))


def take_numbers(image: Image, mask: Mask, voxels: int, rng: np.random.Generator) -> CaseNumbers:
    """Of an image and its mask that are at hand.

    Args:
        image: of the case.
        mask: its labels.
        voxels: that are drawn at most.
        rng: draws them.
    """
    inside = (mask.array > 0) & (mask.array != IGNORE)
    ends = EndsMeter()
    ends.take(image, mask.array > 0)
    is_empty = not inside.any()
    if is_empty:
        inside = np.ones(mask.array.shape, bool)
    everything = _drawn(image.array.reshape(image.channels, -1), voxels, rng)
    return CaseNumbers(
        shape=image.spatial_shape,
        spacing=image.spacing,
        orientation=axis_codes(image),
        foreground=_drawn(image.array[:, inside], voxels, rng),
        everything=everything,
        counts=np.bincount(mask.array.ravel(), minlength=IGNORE + 1),
        ends=ends,
        images=tuple(
            _image_statistics(channel, drawn, is_empty=is_empty)
            for channel, drawn in zip(image.array, everything, strict=True)
        ),
    )


def _image_statistics(
    channel: Real[np.ndarray, "*spatial"], drawn: Float32[np.ndarray, " n"], *, is_empty: bool
) -> ImageStatistics:
    return ImageStatistics(
        mean=float(drawn.mean(dtype=np.float64)),
        deviation=float(drawn.std(dtype=np.float64)),
        percentiles=tuple(float(each) for each in Levels.of(drawn).percentiles),
        noise=noise_of(channel),
        is_empty=is_empty,
    )


def _drawn(
    voxels: Real[np.ndarray, "c n"], count: int, rng: np.random.Generator
) -> Float32[np.ndarray, "c drawn"]:
    if voxels.shape[1] <= count:
        return voxels.astype(np.float32)
    return voxels[:, rng.integers(voxels.shape[1], size=count)].astype(np.float32)
