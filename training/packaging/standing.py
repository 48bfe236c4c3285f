"""What all objects of the training show and no background does.

Letters: ``c`` channels, ``n`` objects.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt8
from scipy import ndimage
from scipy.ndimage import find_objects

from seg.inference.tiling.standing import plain_extremes, reaching
from seg.model_package import ObjectLevel, StandsOut
from training.dataset import Dataset
from training.dataset.legend import IGNORE
from training.run.plan import Plan
from training.samples.prepared_cases import on_the_network_s_grid

MOST_CASES = 8
"""That are looked at, spread over all."""
MOST_VOXELS = 32_000_000
"""Of all cases and channels: the middle rows of larger ones."""
SMALL = 5
"""Percentile of edges of objects."""
MOST_SMOOTHING = 5
FAINT = 5
"""Percentile of the objects' own brightest place; fainter ones may be errors of annotation."""
CLEAR = 6.0
"""Deviations of the smoothed background by which faint objects lie beyond it."""
SHARE = 0.3
"""Of the way from the background to a faint object, where the limit is."""
KEPT = 0.95
"""Share of the objects that must reach a level, else there is no rule."""
WHOLE = 99
"""Percentile of the objects that lie within reach as a whole."""
ENOUGH = 59
"""Objects of which the faintest is, with 95 % confidence, among the faintest 5 % of all.

Fewer say little of how faint and how large others are: .95 ** 59 < .05 (Wilks 1941, Determination
of Sample Sizes for Setting Tolerance Limits).
"""
FARTHER = 2
"""Times the reach that is allowed to objects, where few were seen."""

_Case = tuple[Float32[np.ndarray, "c *grid"], UInt8[np.ndarray, "*grid"]]


def standing_out(dataset: Dataset, plan: Plan) -> StandsOut | None:
    """How objects stand out; None where they do not, or where images share no scale.

    Where those of all classes together do not, as the faint cytoplasm around bright nuclei, it is
    about the classes of which each does by itself.

    Raises:
        DatasetError: a case cannot be read.
    """
    rules = plan.preprocessing.normalisation
    if not plan.empty_share or any(rule.kind != "reference" for rule in rules):
        return None
    cases, spacing = _cases(dataset, plan), plan.spacing or (1.0,) * plan.dims
    rule = rule_of(cases, spacing)
    if rule is not None or dataset.legend.task != "exclusive":
        return rule
    return rule_of_some(cases, spacing)


def rule_of_some(cases: Sequence[_Case], spacing: Sequence[float]) -> StandsOut | None:
    """The rule of those classes whose objects stand out of background and all other classes."""
    shown = sorted(set().union(*(np.unique(labels).tolist() for _, labels in cases)))
    classes = [each for each in shown if 0 < each < IGNORE]
    clear = [each for each in classes if rule_of(_of_classes(cases, [each]), spacing)]
    if len(clear) == len(classes):
        return None
    rule = rule_of(_of_classes(cases, clear), spacing)
    return rule and rule.model_copy(update={"classes": tuple(clear)})


def _of_classes(cases: Sequence[_Case], classes: Sequence[int]) -> list[_Case]:
    kept = [*classes, IGNORE]
    return [(image, np.where(np.isin(labels, kept), labels, 0)) for image, labels in cases]


def _cases(dataset: Dataset, plan: Plan) -> list[_Case]:
    """Some of the training, as the network sees them, as many as fit in memory."""
    count = min(MOST_CASES, len(dataset.train))
    plain = plan.model_copy(update={"margin": (0,) * plan.dims})
    cases: list[_Case] = []
    left = MOST_VOXELS
    for i in range(count):
        case = dataset.train[i * len(dataset.train) // count]
        image, labels = on_the_network_s_grid(*dataset.read(case), plain)
        rows = max(1, left // (image.size // len(labels)))
        first = max(0, len(labels) - rows) // 2
        middle = slice(first, first + rows)
        cases.append((image[:, middle], labels[middle]))
        left -= cases[-1][0].size
        if left <= 0:
            break
    return cases


def rule_of(cases: Sequence[_Case], spacing: Sequence[float]) -> StandsOut | None:
    """The rule that these images with their labels tell; None where objects do not stand out."""
    objects = [_objects(labels) for _, labels in cases]
    boxes = [box for of_case in objects for numbers in of_case for box in find_objects(numbers)]
    if not boxes:
        return None
    edges = [[side.stop - side.start for side in box] for box in boxes]
    radius = np.percentile(edges, SMALL, axis=0) / 2
    smoothing = tuple(int(n) // 2 * 2 + 1 for n in np.clip(radius - 1, 1, MOST_SMOOTHING))
    core = tuple(2 * n - 1 for n in smoothing)  # what is narrower than the smoothing is a speck
    shown = [plain_extremes(image, smoothing, core) for image, _ in cases]
    levels = _levels(
        np.concatenate([_peaks(x, of) for x, of in zip(shown, objects, strict=True)]),
        np.stack([_ground(image, labels, smoothing) for image, labels in cases]),
    )
    if not any(levels):
        return None
    distances = np.concatenate(
        [
            _farthest(reaching(*x, levels), of_case, spacing)
            for x, of_case in zip(shown, objects, strict=True)
        ]
    )
    reached = distances[np.isfinite(distances)]
    if len(reached) < KEPT * len(distances):
        return None
    mm = float(np.percentile(reached, WHOLE)) * (1 if len(reached) >= ENOUGH else FARTHER)
    return StandsOut(
        levels=levels,
        smoothing=smoothing,
        core=core,
        reach=tuple(int(np.ceil(mm / of_axis)) for of_axis in spacing),
    )


def _objects(labels: UInt8[np.ndarray, "*grid"]) -> list[Int[np.ndarray, "*grid"]]:
    """Numbered, class by class."""
    return [ndimage.label(labels == label)[0] for label in np.unique(labels) if 0 < label < IGNORE]


def _peaks(
    shown: tuple[Float32[np.ndarray, "c *grid"], Float32[np.ndarray, "c *grid"]],
    objects: Sequence[Int[np.ndarray, "*grid"]],
) -> Float[np.ndarray, "n c 2"]:
    """How dark and how bright the darkest and the brightest box of each object is."""
    largest, smallest = shown
    found = [np.zeros((0, len(largest), 2))]
    for numbers in objects:
        every = range(1, int(numbers.max()) + 1)
        darkest = [ndimage.minimum(channel, numbers, every) for channel in largest]
        brightest = [ndimage.maximum(channel, numbers, every) for channel in smallest]
        found.append(np.stack([darkest, brightest], axis=-1).swapaxes(0, 1))
    return np.concatenate(found)


def _ground(
    image: Float32[np.ndarray, "c *grid"],
    labels: UInt8[np.ndarray, "*grid"],
    smoothing: Sequence[int],
) -> Float[np.ndarray, "c 3"]:
    """Median of the background, and one deviation of a normal distribution around it."""
    smoothed = np.stack([ndimage.uniform_filter(x, smoothing, mode="nearest") for x in image])
    background = smoothed[:, labels == 0]
    if not background.size:
        background = smoothed.reshape(len(smoothed), -1)
    return np.asarray(np.percentile(background, (16, 50, 84), axis=1).T)


def _farthest(
    reached: Bool[np.ndarray, "*grid"],
    objects: Sequence[Int[np.ndarray, "*grid"]],
    spacing: Sequence[float],
) -> Float[np.ndarray, " n"]:
    """How far the farthest voxel of each object lies from one that reaches a level, in mm.

    Infinite where the object itself holds none.
    """
    distance = ndimage.distance_transform_edt(~reached, sampling=spacing)
    found = [np.zeros(0)]
    for numbers in objects:
        every = range(1, int(numbers.max()) + 1)
        farthest = np.array(ndimage.maximum(distance, numbers, every))
        found.append(np.where(ndimage.maximum(reached, numbers, every), farthest, np.inf))
    return np.concatenate(found)


def _levels(
    peaks: Float[np.ndarray, "n c 2"], grounds: Float[np.ndarray, "cases c 3"]
) -> tuple[ObjectLevel | None, ...]:
    """The plainer side of each channel."""
    levels: list[ObjectLevel | None] = []
    for channel in range(peaks.shape[1]):
        below, middle, above = grounds[:, channel].T
        darkest, brightest = peaks[:, channel].T
        dark = _limit(-darkest, -middle, above - middle)
        bright = _limit(brightest, middle, middle - below)
        if bright is not None and (dark is None or bright[1] >= dark[1]):
            levels.append(ObjectLevel(side="above", limit=bright[0]))
        elif dark is not None:
            levels.append(ObjectLevel(side="below", limit=-dark[0]))
        else:
            levels.append(None)
    return tuple(levels)


def _limit(
    peaks: Float[np.ndarray, " n"],
    middle: Float[np.ndarray, " cases"],
    deviation: Float[np.ndarray, " cases"],
) -> tuple[float, float] | None:
    """Limit and how clear it is, in deviations of the background; None where it is not.

    Few objects say little of the faintest, so the limit is as low then as the background allows.
    """
    ground, noise = float(middle.max()), float(max(deviation.max(), np.finfo(np.float32).eps))
    gap = float(np.percentile(peaks, FAINT)) - ground
    if gap < CLEAR * noise:
        return None
    share = SHARE if len(peaks) >= ENOUGH else 0.0
    return ground + max(share * gap, CLEAR / 2 * noise), gap / noise
