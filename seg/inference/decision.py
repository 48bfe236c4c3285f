"""What logits mean: probabilities and labels, of exclusive classes or of overlapping regions.

Letters: ``b`` batch, ``k`` channels of logits. Exclusive classes have one channel each, and a
voxel gets the class of the largest. Of regions, channel ``k`` belongs to class ``k + 1`` and says
by itself whether a voxel is in; a label map paints the classes in their order, later ones over
earlier ones.
"""

import numpy as np
from jaxtyping import Float, Float32, UInt8
from scipy.special import expit

from seg.model_package import Task


def labels_of(
    logits: Float[np.ndarray, "k *spatial"], task: Task = "exclusive"
) -> UInt8[np.ndarray, "*spatial"]:
    """One class index a voxel; of equal logits the first class wins."""
    labels = np.zeros(logits.shape[1:], np.uint8)
    if task == "regions":
        for index, channel in enumerate(logits, start=1):
            np.maximum(labels, (channel > 0) * np.uint8(index), out=labels)
        return labels
    # Six times as fast as argmax over the first axis, which moves it to the end
    best = logits[0].copy()
    for index, channel in enumerate(logits[1:], start=1):
        np.maximum(labels, (channel > best) * np.uint8(index), out=labels)
        np.maximum(best, channel, out=best)
    return labels


def probabilities_of(
    logits: Float[np.ndarray, "k *spatial"], task: Task = "exclusive", axis: int = 0
) -> Float32[np.ndarray, "k *spatial"]:
    """Softmax over the channels of exclusive classes; the sigmoid of each region."""
    logits = logits.astype(np.float32, copy=False)
    if task == "regions":
        return np.asarray(expit(logits))
    # scipy's softmax takes twice as long
    probabilities: np.ndarray = logits - logits.max(axis=axis, keepdims=True)
    np.exp(probabilities, out=probabilities)
    probabilities /= probabilities.sum(axis=axis, keepdims=True)
    return probabilities


def probability_error(
    logits: Float[np.ndarray, "b k *patch"],
    reference: Float[np.ndarray, "b k *patch"],
    task: Task = "exclusive",
) -> float:
    """Largest absolute difference of probabilities."""
    ours, theirs = (probabilities_of(each, task, axis=1) for each in (logits, reference))
    return float(np.abs(ours - theirs).max())
