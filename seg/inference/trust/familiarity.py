"""Whether an image is like those that the model was trained on, in sentences for people.

A score on test cases says nothing about an image of another kind, so such an image is told apart
before its mask is trusted. Only what can change the network's answer is compared.
"""

from collections.abc import Iterator
from math import gcd

import numpy as np
from jaxtyping import Float, Real

from seg.images import Image, ImageSource
from seg.model_package import InputSpec, TrainingFingerprint

SPACING_FACTOR = 1.25
"""A voxel may be that much finer or coarser than the extremes of training."""
SIZE_FACTOR = 2.0
"""An image may be that much smaller or larger than the extremes of training."""
INTENSITY_SHARE = 0.25
"""Percentiles may lie outside of the training range by that share of its width."""
FLAT_SHARE = 0.05
"""Percentiles nearer to each other than that share of the training width mean an empty image."""
PERCENTILES = (0.5, 99.5)
"""The same as of ``TrainingFingerprint.intensity``."""
MOST_VOXELS = 1_000_000
"""Voxels of a channel, spread evenly, from which percentiles are taken."""
PER_IMAGE = ("zscore", "percentile", "minmax")
"""Normalisations that remove an image's own scale and offset."""


def unfamiliar(image: ImageSource, spec: InputSpec, seen: TrainingFingerprint) -> tuple[str, ...]:
    """A sentence for each way in which the image lies outside of the training data.

    Args:
        image: that ``Predictor.predict`` takes; another number of channels or axes is an error
            there and no warning here. Of one that stays in its file no intensity is looked at.
        spec: of the model's card.
        seen: of the model's card.
    """
    return (
        *_spacing(image, spec, seen),
        *_size(image, spec, seen),
        *(_intensity(image, spec, seen) if isinstance(image, Image) else ()),
    )


def _spacing(image: ImageSource, spec: InputSpec, seen: TrainingFingerprint) -> Iterator[str]:
    if seen.spacing is None:
        return
    if image.spacing is None:
        if spec.preprocessing.spacing is not None:
            wanted = " x ".join(
                "any" if mm is None else f"{mm:.3g}" for mm in spec.preprocessing.spacing
            )
            yield (
                "the image does not state its spacing, so it was taken as if it had the model's "
                f"{wanted} mm; a wrong scale gives a wrong mask"
            )
        return
    axes = "zyx"[-len(image.spatial_shape) :]
    for axis, mm, (low, high) in zip(axes, image.spacing, seen.spacing, strict=True):
        if not low / SPACING_FACTOR <= mm <= high * SPACING_FACTOR:
            yield (
                f"the spacing along {axis} is {mm:.3g} mm, the model was trained on "
                f"{_range(low, high)} mm"
            )


def _size(image: ImageSource, spec: InputSpec, seen: TrainingFingerprint) -> Iterator[str]:
    """Sizes are compared in mm where the model resamples, else in voxels."""
    in_mm = seen.spacing is not None and image.spacing is not None
    in_mm = in_mm and spec.preprocessing.spacing is not None
    unit = "mm" if in_mm else "pixels" if len(image.spatial_shape) == 2 else "voxels"
    ours = image.spacing if in_mm and image.spacing else (1.0,) * len(image.spatial_shape)
    theirs = seen.spacing if in_mm and seen.spacing else ((1.0, 1.0),) * len(image.spatial_shape)
    axes = zip(
        "zyx"[-len(image.spatial_shape) :],
        image.spatial_shape,
        ours,
        seen.shape,
        theirs,
        strict=True,
    )
    for axis, n, mm, (fewest, most), (finest, coarsest) in axes:
        size, low, high = n * mm, fewest * finest, most * coarsest
        if not low / SIZE_FACTOR <= size <= high * SIZE_FACTOR:
            yield (
                f"the image measures {size:.4g} {unit} along {axis}, the model was trained on "
                f"{_range(low, high)} {unit}"
            )


def _intensity(image: Image, spec: InputSpec, seen: TrainingFingerprint) -> Iterator[str]:
    channels = zip(
        spec.channels, spec.preprocessing.normalisation, image.array, seen.intensity, strict=True
    )
    for channel, normalisation, voxels, (low, high) in channels:
        bottom, top = _percentiles(voxels)
        where = f" in {channel.name}" if len(spec.channels) > 1 else ""
        if bottom == top:
            yield f"almost all intensities{where} are {bottom:.4g}: the image seems to be empty"
            continue
        if normalisation.kind in PER_IMAGE:
            continue
        slack = INTENSITY_SHARE * (high - low)
        if bottom < low - slack or top > high + slack:
            yield (
                f"intensities{where} go from {bottom:.4g} to {top:.4g}, the model was trained on "
                f"{_range(low, high)}; another unit or another scanner?"
            )
        elif top - bottom < FLAT_SHARE * (high - low):
            yield (
                f"intensities{where} go from {bottom:.4g} to {top:.4g} only, the model was "
                f"trained on {_range(low, high)}; another unit, or an empty image?"
            )


def _percentiles(voxels: Real[np.ndarray, "*spatial"]) -> tuple[float, float]:
    flat = voxels.reshape(-1)
    step = max(1, flat.size // MOST_VOXELS)
    while gcd(step, voxels.shape[-1]) > 1:  # else it would meet the same columns in every row
        step += 1
    low, high = _percentiles_of(flat[::step])
    return float(low), float(high)


def _percentiles_of(sample: Real[np.ndarray, " n"]) -> Float[np.ndarray, "2"]:
    """``np.percentile(sample, PERCENTILES)``; short integers are counted, five times as fast."""
    if sample.dtype.kind not in "iu" or sample.itemsize > 2:
        return np.asarray(np.percentile(sample.astype(np.float64), PERCENTILES))
    least = int(sample.min())
    up_to = np.bincount(sample.astype(np.intp) - least).cumsum()
    places = np.array(PERCENTILES) / 100 * (sample.size - 1)
    below, above = (
        np.searchsorted(up_to, rank, side="right") for rank in (np.floor(places), np.ceil(places))
    )
    return np.asarray(least + below + (above - below) * (places % 1))


def _range(low: float, high: float) -> str:
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
