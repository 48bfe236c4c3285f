"""Cases in which two classes have changed places: each is what the other one is elsewhere.

Letters: ``c`` channels, ``d`` numbers that describe a class in a case.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Float, Float64

from seg.images import Image, Mask
from training.dataset.cases import Case
from training.dataset.findings.finding import Finding
from training.dataset.legend import IGNORE, Legend

FEWEST = 5
"""Cases that show two classes, below which nothing is usual."""
MOST = 1 / 3
"""Of them: where more are the other way round, there is no usual way."""
CLEAR = 3.0
"""Deviations by which two classes differ in what tells them apart."""
LEAST_DEVIATION = 0.15
"""Of the difference: of few cases the deviation is small by chance."""
VOXELS = 300_000
"""That are looked at."""
MOST_CLASSES = 32
"""All pairs of more are many."""

ClassTraits = Mapping[int, Float64[np.ndarray, " d"]]
"""By label: how bright it is, how large, and where it lies."""


def class_traits(image: Image, mask: Mask) -> ClassTraits:
    """What describes each class of a case, but for background."""
    step = max(1, round((mask.array.size / VOXELS) ** (1 / mask.dims)))
    thin = (slice(None, None, step),) * mask.dims
    labels = mask.array[thin]
    counts = np.bincount(labels.ravel())
    shown = [value for value in np.flatnonzero(counts).tolist() if value not in (0, IGNORE)]
    if not 2 <= len(shown) <= MOST_CLASSES:
        return {}
    rows: list[Float[np.ndarray, " values"]] = [np.log(np.maximum(counts, 1))]
    for channel in image.array[(slice(None), *thin)]:
        values = channel.astype(np.float64)
        scaled = (values - values.mean()) / max(float(values.std()), 1e-9)
        rows.append(_means(labels, scaled, counts))
    for axis, size in enumerate(labels.shape):
        place = np.arange(size, dtype=np.float64) / size
        along = place.reshape([-1 if at == axis else 1 for at in range(labels.ndim)])
        rows.append(_means(labels, np.broadcast_to(along, labels.shape), counts))
    table = np.stack(rows, axis=1)
    return {value: table[value] for value in shown}


def _means(
    labels: np.ndarray, values: np.ndarray, counts: np.ndarray
) -> Float64[np.ndarray, " values"]:
    sums = np.bincount(labels.ravel(), weights=values.ravel(), minlength=len(counts))
    means: np.ndarray = sums / np.maximum(counts, 1)
    return means


def exchanged_classes(
    legend: Legend, cases: Sequence[tuple[Case, ClassTraits]]
) -> Iterator[Finding]:
    """Cases in which two classes are told apart the other way round than in most."""
    together: dict[tuple[int, int], list[tuple[Case, Float64[np.ndarray, " d"]]]]
    together = defaultdict(list)
    for case, traits in cases:
        for one, other in combinations(sorted(traits), 2):
            together[one, other].append((case, traits[one] - traits[other]))
    told: set[str] = set()
    for (one, other), pairs in together.items():
        if len(pairs) < FEWEST or len({len(apart) for _, apart in pairs}) > 1:
            continue
        apart = np.stack([each for _, each in pairs])
        wrong = _the_other_way_round(apart)
        if not 0 < wrong.sum() <= MOST * len(pairs):
            continue
        for at in np.flatnonzero(wrong).tolist():
            case = pairs[at][0]
            if case.name not in told:
                told.add(case.name)
                yield Finding(
                    "warning",
                    str(case.mask),
                    f"{legend.in_words(one)} is here what {legend.in_words(other)} is in most "
                    "masks, and the other way round, by brightness, size or place: they seem to be "
                    "exchanged",
                    "exchange the two values in this mask, or turn its image",
                )


def _the_other_way_round(apart: Float64[np.ndarray, "n d"]) -> np.ndarray:
    """Of each case, whether all that tells the two apart is of the other sign."""
    usual = np.median(apart, axis=0)
    deviation = 1.4826 * np.median(np.abs(apart - usual), axis=0)
    deviation = np.maximum(deviation, LEAST_DEVIATION * np.abs(usual))
    tells = (np.abs(usual) >= CLEAR * deviation) & (usual != 0)
    if not tells.any():
        return np.zeros(len(apart), bool)
    ratio = apart[:, tells] / usual[tells]
    wrong: np.ndarray = ((ratio <= -0.5) & (ratio >= -2)).all(axis=1)
    return wrong
