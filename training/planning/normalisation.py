"""Which normalisation fits the intensities of a dataset; the reasons: docs/planning.md."""

from collections.abc import Sequence

import numpy as np

from seg.model_package import Channel
from seg.transforms import CommonScale, Normalisation
from seg.transforms.levels import MEDIAN, Levels
from training.dataset.case_numbers import ImageStatistics
from training.dataset.fingerprint import ChannelStatistics

ARBITRARY = ("MR", "MRI", "T1", "T2", "FLAIR")
"""Modalities whose intensities have no unit: each image is taken by itself, whatever it shows."""
WIDEST = 3.0
"""Ratio of the widest to the narrowest image of the training (10th and 90th percentile of their
widths) up to which all are on one scale; images without any class do not count."""
FARTHEST = 0.5
"""The same of their medians, in shares of the median width."""
SLACK = 0.25
"""Beyond what the training images hold nothing is clipped up to that share of their range, and an
image may lie so far outside and still be on their scale."""


def planned_normalisation(channel: Channel, statistics: ChannelStatistics) -> Normalisation:
    """CT by the training foreground; others by all training images where they share a scale."""
    if channel.modality.upper() == "CT":
        return Normalisation(
            kind="clip_zscore",
            low=statistics.percentile_00_5,
            high=statistics.percentile_99_5,
            mean=statistics.mean,
            std=statistics.std,
        )
    images = statistics.images
    if not images:
        return Normalisation(kind="zscore")
    if channel.modality.upper() not in ARBITRARY and share_a_scale(images):
        return _reference(statistics, images)
    return _robust(images)


def share_a_scale(images: Sequence[ImageStatistics]) -> bool:
    """Whether the training images agree in raw intensities, cells or none."""
    shown = [image for image in images if not image.is_empty] or images
    widths = [image.percentiles[-1] - image.percentiles[0] for image in shown]
    narrow, width, wide = np.percentile(widths, (10, 50, 90))
    low, high = np.percentile([image.percentiles[MEDIAN] for image in images], (10, 90))
    return bool(narrow > 0 and wide <= WIDEST * narrow and high - low <= FARTHEST * width)


def _reference(statistics: ChannelStatistics, images: Sequence[ImageStatistics]) -> Normalisation:
    levels = [Levels(np.array(image.percentiles)) for image in images]
    low = min(statistics.range[0], statistics.percentile_00_5)
    high = max(statistics.range[1], statistics.percentile_99_5)
    slack = SLACK * (high - low)
    means = np.array([image.mean for image in images])
    squares = np.array([image.deviation**2 for image in images]) + means**2
    mean = float(means.mean())
    spread = float(np.median([each.spread for each in levels]))
    return Normalisation(
        kind="reference",
        low=low - slack,
        high=high + slack,
        mean=mean,
        std=float(np.sqrt(max(0.0, squares.mean() - mean**2))),
        scale=CommonScale(
            bottom=min(image.percentiles[1] for image in images) - slack,
            middle=(
                min(image.percentiles[1] for image in images) - spread,
                max(image.percentiles[5] for image in images) + spread,
            ),
            top=max(image.percentiles[5] for image in images) + slack,
            median=float(np.median([each.median for each in levels])),
            spread=spread,
        ),
    )


def _robust(images: Sequence[ImageStatistics]) -> Normalisation:
    """Numbers in spreads from the median, of the image that is in the middle of all."""
    found = []
    for image in images:
        levels = Levels(np.array(image.percentiles))
        low, high = levels.percentiles[0], levels.percentiles[-1]
        slack = SLACK * (high - low)
        numbers = np.array([low - slack, high + slack, image.mean])
        scaled = (numbers - levels.median) / levels.spread
        found.append([*scaled, image.deviation / levels.spread])
    low, high, mean, std = (float(each) for each in np.median(found, axis=0))
    return Normalisation(kind="robust", low=low, high=high, mean=mean, std=std or 1.0)
