"""How probable an object is, and how far counts lie from the truth, from cases with numbers."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int32, Int64, UInt32
from scipy.optimize import isotonic_regression

from seg.metrics.bootstrap import units_of
from seg.model_package import CountCalibration, ScoreCalibration
from seg.objects.counting import PRIOR_IMAGES

FEWEST_OBJECTS = 20
"""For a calibration."""
PRIOR_SPREAD = 0.04
"""How far counts are off from image to image, before any image is looked at: of six frames of hela
whose labels are another program's, two showed 4.5 % too few objects and four 1 %."""
TILES = 4
"""Along each of the two last axes, within which counts are compared."""
TileCounts = Int64[np.ndarray, "2 tiles"]
"""Found and true objects of each tile of an image."""


def fit_scores(scores: Float[np.ndarray, " n"], hits: np.ndarray) -> ScoreCalibration | None:
    """The rising function that fits best; None where objects are few.

    Source: Zadrozny & Elkan, Transforming classifier scores into accurate multiclass probability
    estimates, KDD 2002.
    """
    if len(scores) < FEWEST_OBJECTS:
        return None
    order = np.argsort(scores, kind="stable")
    fitted = isotonic_regression(hits[order].astype(float))
    knots: list[tuple[float, float]] = []
    for start, stop in zip(fitted.blocks[:-1], fitted.blocks[1:], strict=True):
        inside = order[start:stop]
        # one hit and one miss more, so that few objects are never sure of anything
        knots.append(
            (float(scores[inside].mean()), float((hits[inside].sum() + 1) / (len(inside) + 2)))
        )
    said = np.maximum.accumulate([probability for _, probability in knots])
    return ScoreCalibration(
        scores=tuple(score for score, _ in knots),
        probabilities=tuple(float(each) for each in said),
        objects=len(scores),
    )


def fit_counts(
    counts: Sequence[TileCounts], subjects: Sequence[str | None] | None = None
) -> CountCalibration | None:
    """What counts say of the truth; None where nothing was found or nothing is there.

    Args:
        counts: one entry an image.
        subjects: whose each is, where that is known: how far counts are off from image to image is
            known from as many subjects, not from as many images.
    """
    found, true = np.concatenate(counts, axis=1).astype(float)
    if not found.sum() or not true.sum() or true.sum() < FEWEST_OBJECTS:
        return None
    of_images = np.array([each.sum(axis=1) for each in counts], float)
    # as if one image more had shown that what is found is what is there
    ratio = (true.sum() + of_images[:, 0].mean()) / (found.sum() + of_images[:, 0].mean())
    expected = np.maximum(ratio * found, 0.5)
    dispersion = float(((true - ratio * found) ** 2).sum() / expected.sum())
    expected = np.maximum(ratio * of_images[:, 0], 0.5)
    surplus = ((of_images[:, 1] - expected) ** 2 - dispersion * expected) / expected**2
    units = len(set(units_of(subjects or [None] * len(counts)).tolist()))
    variance = (units * surplus.mean() + PRIOR_IMAGES * PRIOR_SPREAD**2) / (units + PRIOR_IMAGES)
    return CountCalibration(
        ratio=float(ratio),
        dispersion=dispersion,
        spread=float(np.sqrt(max(PRIOR_SPREAD**2 / 4, variance))),
        images=units,
        tiles=len(found),
    )


def tile_counts(
    found: UInt32[np.ndarray, "*spatial"] | Int32[np.ndarray, "*spatial"],
    true: Int32[np.ndarray, "*spatial"],
) -> TileCounts:
    """Objects of a case, tile by tile."""
    return np.stack([_in_tiles(found), _in_tiles(true)])


def _in_tiles(labels: np.ndarray) -> Int64[np.ndarray, " tiles"]:
    """Objects by the tile in which their centre lies."""
    flat = np.flatnonzero(labels)
    numbers = labels.reshape(-1)[flat]
    sizes = np.bincount(numbers)
    there = np.flatnonzero(sizes)
    tile = np.zeros(len(there), np.int64)
    places = np.unravel_index(flat, labels.shape)
    for axis in (-2, -1):
        centre = np.bincount(numbers, weights=places[axis])[there] / sizes[there]
        row = np.minimum((centre * TILES / labels.shape[axis]).astype(int), TILES - 1)
        tile = tile * TILES + row
    return np.bincount(tile, minlength=TILES**2)
