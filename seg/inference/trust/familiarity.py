"""Whether an image is like those that the model was trained on, in sentences for people.

A score on test cases says nothing about an image of another kind, so such an image is told apart
before its mask is trusted. Only what can change the network's answer is compared.
"""

from collections.abc import Iterator, Sequence
from math import prod

import numpy as np
from jaxtyping import Real

from seg.images import Image, ImageSource
from seg.images.grid.orientation import axis_codes
from seg.images.grid.plausible import is_steeper_than_a_gantry
from seg.model_package import InputSpec, IntensityStatistics, TrainingFingerprint
from seg.model_package.provenance import ANY_INTENSITY
from seg.model_package.sides import in_words
from seg.sentences import Sentence
from seg.transforms.levels import MOST_VOXELS, Levels, noise_of, sample_of

SPACING_FACTOR = 1.25
"""A voxel may be that much finer or coarser than the extremes of training."""
ANOTHER_UNIT = 10.0
"""The same where the extremes are not known, of the spacing that the model resamples to."""
SIZE_FACTOR = 2.0
"""An image may be that much smaller or larger than the extremes of training."""
INTENSITY_SHARE = 0.25
"""Percentiles may lie outside of the training range by that share of its width."""
SHARE_ON_A_SCALE = 0.5
"""The same where images share a scale, which is looked at by itself: how bright their brightest
objects are differs from day to day, and another unit shows in their middle."""
FLAT_SHARE = 0.05
"""Percentiles nearer to each other than that share of the training width mean an empty image."""
STATISTICS_FACTOR = 1.5
"""Deviation, and the noise's share of it, may leave those of training by that factor; by twice as
much where one image was all that was seen."""
PURE_NOISE = 0.985
"""Share of the deviation that is noise, from which on hardly anything else is in a channel: what
else varies does so by less than a sixth of the noise."""
NOTHING_SHOWN = (
    "no channel shows more than background and noise: the image seems to be empty, or in another "
    "unit, and what the mask shows is hardly there"
)
BANDS = 8
"""Of rows, that are read of an image which stays in its file."""
PER_IMAGE = ("zscore", "percentile", "minmax")
"""Normalisations that remove an image's own scale and offset."""


def unfamiliar(
    image: ImageSource,
    spec: InputSpec,
    seen: TrainingFingerprint,
    sided: Sequence[str] = (),
) -> tuple[str, ...]:
    """A sentence for each way in which the image lies outside of the training data.

    Args:
        image: turned to the model's orientation; another number of channels or axes is an error of
            ``Predictor.predict`` and no warning here. Of one that stays in its file some rows are
            read.
        spec: of the model's card.
        seen: of the model's card.
        sided: classes that have a side.
    """
    shown = _shown_of(image) if image.channels == len(spec.channels) else None
    of_channels = () if shown is None else tuple(_intensity(shown, spec, seen))
    # each channel that shows nothing has had its sentence
    return (
        *_orientation(image, spec, sided),
        *_spacing(image, spec, seen),
        *_size(image, spec, seen),
        *of_channels,
        *(
            (NOTHING_SHOWN,)
            if shown is not None and len(of_channels) == len(shown) and _is_empty(shown, spec, seen)
            else ()
        ),
    )


def _orientation(image: ImageSource, spec: InputSpec, sided: Sequence[str]) -> Iterator[str]:
    """What cannot be placed is taken as it is stored, which may be another way round."""
    codes, wanted = axis_codes(image), spec.orientation
    risk = f": {in_words(sided)} may have changed places" if sided else ""
    if wanted is None:
        if sided and codes is not None:
            yield Sentence(
                "the package does not say in which voxel order (orientation) it was trained, so "
                f"the image was taken as it is stored, {codes}{risk}",
                "orientation_unknown_to_model",
                stored=codes,
                sided=in_words(sided),
            )
    elif codes is None:
        yield Sentence(
            "the image does not state how its voxels lie in the world (it has no affine), so it "
            f"was taken to be stored in {wanted}, the model's orientation; if it is not, the mask "
            f"is wrong{risk}",
            "orientation_not_stated",
            wanted=wanted,
            sided=in_words(sided),
        )
    elif codes != wanted:
        yield Sentence(
            f"the image lies in another plane (orientation {codes}) than those of the training "
            f"({wanted}), and was taken as it is stored{risk}",
            "other_plane",
            stored=codes,
            wanted=wanted,
            sided=in_words(sided),
        )
    affine = image.affine
    if affine is not None and is_steeper_than_a_gantry(affine, len(image.spatial_shape)):
        yield (
            "the axes of the image are not at right angles to each other, by more than a tilted "
            "gantry, so what it shows is sheared; are the directions in its header right?"
        )


def _spacing(image: ImageSource, spec: InputSpec, seen: TrainingFingerprint) -> Iterator[str]:
    if image.spacing is None:
        if spec.preprocessing.spacing is not None:
            wanted = " x ".join(
                "any" if mm is None else f"{mm:.3g}" for mm in spec.preprocessing.spacing
            )
            yield Sentence(
                "the image does not state its spacing, so it was taken as if it had the model's "
                f"{wanted} mm; a wrong scale gives a wrong mask",
                "spacing_not_stated",
                wanted=wanted,
            )
        return
    ends, factor = seen.spacing, SPACING_FACTOR
    if ends is None:  # as of models made elsewhere: the model's own, roughly
        wished = spec.preprocessing.spacing or (None,) * len(image.spacing)
        ends = tuple(
            (mm or here, mm or here) for mm, here in zip(wished, image.spacing, strict=True)
        )
        factor = ANOTHER_UNIT
    axes = "zyx"[-len(image.spatial_shape) :]
    for axis, mm, (low, high) in zip(axes, image.spacing, ends, strict=True):
        if not low / factor <= mm <= high * factor:
            yield Sentence(
                f"the spacing along {axis} is {mm:.3g} mm, the model was trained on "
                f"{_range(low, high)} mm",
                "other_spacing",
                axis=axis,
                here=mm,
                trained=(low, high),
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
            yield Sentence(
                f"the image measures {size:.4g} {unit} along {axis}, the model was trained on "
                f"{_range(low, high)} {unit}",
                f"other_size_{unit}",
                axis=axis,
                here=size,
                trained=(low, high),
            )


def _is_empty(
    shown: Real[np.ndarray, "c *part"], spec: InputSpec, seen: TrainingFingerprint
) -> bool:
    """Whether every channel is flat or noise alone, on the scale that the network knows.

    An image in another unit may be flat beside those of the training, and show all that they do.
    """
    rules = spec.preprocessing.normalisation
    statistics = seen.statistics or (None,) * len(rules)
    for rule, voxels, (low, high), usual in zip(
        rules, shown, seen.intensity, statistics, strict=True
    ):
        levels = Levels.of(sample_of(voxels))
        extent = float(levels.percentiles[-1] - levels.percentiles[0])
        is_on_scale = (low, high) != ANY_INTENSITY and (
            rule.kind not in PER_IMAGE if rule.scale is None else levels.lies_on(rule.scale)
        )
        if extent == 0 or (is_on_scale and extent < FLAT_SHARE * (high - low)):
            continue
        deviation = float(sample_of(voxels).astype(np.float64).std())
        share = noise_of(voxels) / deviation if deviation else 0.0
        if usual is None or share < max(PURE_NOISE, usual.noise_share[1]):
            return False
    return True


def _intensity(
    shown: Real[np.ndarray, "c *part"], spec: InputSpec, seen: TrainingFingerprint
) -> Iterator[str]:
    """One sentence a channel at most, of the plainest difference."""
    statistics = seen.statistics or (None,) * len(spec.channels)
    channels = zip(
        spec.channels,
        spec.preprocessing.normalisation,
        shown,
        seen.intensity,
        statistics,
        strict=True,
    )
    for channel, rule, voxels, (low, high), usual in channels:
        named = channel.name if len(spec.channels) > 1 else ""
        where = f" in {named}" if named else ""
        levels = Levels.of(sample_of(voxels))
        bottom, top = (float(levels.percentiles[at]) for at in (0, -1))
        if bottom == top:
            yield Sentence(
                f"almost all intensities{where} are {bottom:.4g}: the image seems to be empty",
                "empty_image",
                channel=named,
                here=bottom,
            )
            continue
        is_known = (low, high) != ANY_INTENSITY
        if usual is None and (rule.kind in PER_IMAGE or not is_known):
            continue
        slack = (SHARE_ON_A_SCALE if rule.scale else INTENSITY_SHARE) * (high - low)
        if bottom < low - slack or top > high + slack:
            yield Sentence(
                f"intensities{where} go from {bottom:.4g} to {top:.4g}, the model was trained on "
                f"{_range(low, high)}; another unit or another scanner?",
                "other_intensities",
                channel=named,
                here=(bottom, top),
                trained=(low, high),
            )
        elif top - bottom < FLAT_SHARE * (high - low):
            yield Sentence(
                f"intensities{where} go from {bottom:.4g} to {top:.4g} only, the model was "
                f"trained on {_range(low, high)}; another unit, or an empty image?",
                "narrow_intensities",
                channel=named,
                here=(bottom, top),
                trained=(low, high),
            )
        elif rule.scale is not None and not levels.lies_on(rule.scale):
            yield Sentence(
                f"intensities{where} have the median {levels.median:.4g}, the model was trained on "
                f"{_range(*rule.scale.middle)}; they were brought to that scale by their own "
                "median and spread",
                "other_scale",
                channel=named,
                here=levels.median,
                trained=rule.scale.middle,
            )
        elif usual is not None:
            yield from _unlike(voxels, usual, seen.cases, named)


def _unlike(
    voxels: Real[np.ndarray, "*spatial"], statistics: IntensityStatistics, cases: int, channel: str
) -> Iterator[str]:
    """What quantiles do not show: how much of the image stands out, and from how much noise."""
    where = f" in {channel}" if channel else ""
    factor = STATISTICS_FACTOR * (1 + 1 / cases)  # few images show little of what is usual
    sample = sample_of(voxels).astype(np.float64)
    mean, deviation = float(sample.mean()), float(sample.std())
    share = noise_of(voxels) / deviation if deviation else 0.0
    low, high = statistics.deviation
    if share > factor * statistics.noise_share[1]:
        yield Sentence(
            f"{share:.0%} of the contrast{where} is noise, {statistics.noise_share[1]:.0%} at most "
            "in training: an image that is nearly empty, or much noisier?",
            "much_noise",
            channel=channel,
            here_percent=100 * share,
            trained_percent=100 * statistics.noise_share[1],
        )
    elif not low / factor <= deviation <= high * factor:
        kind = "an image that is nearly empty?" if deviation < low else "bright spots or fibres?"
        yield Sentence(
            f"intensities{where} deviate by {deviation:.4g} from their mean, the model was trained "
            f"on {_range(low, high)}: another contrast, or {kind}",
            "less_contrast" if deviation < low else "more_contrast",
            channel=channel,
            here=deviation,
            trained=(low, high),
        )
    elif (
        not statistics.mean[0] - high * factor / 2 <= mean <= statistics.mean[1] + high * factor / 2
    ):
        yield Sentence(
            f"the mean intensity{where} is {mean:.4g}, the model was trained on "
            f"{_range(*statistics.mean)}; another unit or another exposure?",
            "other_mean",
            channel=channel,
            here=mean,
            trained=statistics.mean,
        )


def _shown_of(image: ImageSource) -> Real[np.ndarray, "c *part"]:
    """The image, or of one that stays in its file some bands of rows, spread evenly."""
    if isinstance(image, Image):
        return image.array
    rows, *others = image.spatial_shape
    every = tuple(slice(0, n) for n in others)
    most = max(1, MOST_VOXELS // max(1, prod(others)))
    if rows <= most:
        return image.read((slice(0, rows), *every))
    depth = max(1, most // BANDS)
    starts = np.linspace(0, rows - depth, min(BANDS, most)).astype(int)
    bands = [image.read((slice(int(at), int(at) + depth), *every)) for at in starts]
    return np.concatenate(bands, axis=1)


def _range(low: float, high: float) -> str:
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
