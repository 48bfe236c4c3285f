"""Overlap of a predicted mask with a reference.

Letters: ``k`` classes.
"""

import numpy as np
from jaxtyping import Bool, Float64, Int64, Integer

BLOCK = 2**20
"""Pixels counted at once: counting casts them to 8 bytes each."""


def dice(
    prediction: Bool[np.ndarray, "*spatial"], reference: Bool[np.ndarray, "*spatial"]
) -> float:
    """Sørensen-Dice coefficient, 2|P ∩ R| / (|P| + |R|), in [0, 1].

    NaN when both masks are empty: a mean over cases must decide, not be lifted by a silent 1.
    0 when one of them is empty: all of it is an error.

    Source: Maier-Hein et al., Metrics reloaded, Nature Methods 21 (2024).
    """
    total = np.count_nonzero(prediction) + np.count_nonzero(reference)
    return 2.0 * np.count_nonzero(prediction & reference) / total if total else float("nan")


def iou(prediction: Bool[np.ndarray, "*spatial"], reference: Bool[np.ndarray, "*spatial"]) -> float:
    """Intersection over union (Jaccard index), |P ∩ R| / |P ∪ R|, in [0, 1].

    NaN when both masks are empty and 0 when one of them is, as for ``dice``.

    Source: Maier-Hein et al., Metrics reloaded, Nature Methods 21 (2024).
    """
    union = np.count_nonzero(prediction | reference)
    return np.count_nonzero(prediction & reference) / union if union else float("nan")


def confusion_matrix(
    prediction: Integer[np.ndarray, "*spatial"],
    reference: Integer[np.ndarray, "*spatial"],
    num_classes: int,
) -> Int64[np.ndarray, "k k"]:
    """Pixels of every pair of classes in one pass: row reference, column prediction.

    Matrices of several cases may be added up.

    Raises:
        ValueError: a label lies outside ``0 .. num_classes - 1``.
    """
    for name, labels in (("prediction", prediction), ("reference", reference)):
        if labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
            raise ValueError(
                f"labels of {num_classes} classes go from 0 to {num_classes - 1}, the {name} "
                f"holds {labels.min()} to {labels.max()}"
            )
    counts = np.zeros(num_classes**2, np.int64)
    predicted, referred = prediction.reshape(-1), reference.reshape(-1)
    for start in range(0, predicted.size, BLOCK):
        block = slice(start, start + BLOCK)
        pairs = referred[block].astype(np.int64) * num_classes + predicted[block]
        counts += np.bincount(pairs, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def dice_per_class(confusion: Int64[np.ndarray, "k k"]) -> Float64[np.ndarray, "k"]:
    """Dice of each class from a confusion matrix; NaN for a class that is nowhere."""
    return _ratio(2 * np.diagonal(confusion), confusion.sum(axis=0) + confusion.sum(axis=1))


def iou_per_class(confusion: Int64[np.ndarray, "k k"]) -> Float64[np.ndarray, "k"]:
    """Intersection over union of each class; NaN for a class that is nowhere."""
    hits = np.diagonal(confusion)
    return _ratio(hits, confusion.sum(axis=0) + confusion.sum(axis=1) - hits)


def _ratio(part: Int64[np.ndarray, "k"], whole: Int64[np.ndarray, "k"]) -> Float64[np.ndarray, "k"]:
    ratio = np.full(len(part), np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio
