"""What logits mean: probabilities and labels, of exclusive classes or of overlapping regions.

Letters: ``b`` batch, ``k`` channels of logits. Exclusive classes have one channel each, and a
voxel gets the class of the largest. Of regions, channel ``k`` belongs to class ``k + 1`` and says
by itself whether a voxel is in; a label map paints the classes in their order, later ones over
earlier ones.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, UInt8
from scipy.special import expit

from seg.inference.labels.selection import Selection
from seg.model_package import ModelCard, Task


def decided(
    logits: Float[np.ndarray, "k *spatial"], card: ModelCard, selection: Selection
) -> UInt8[np.ndarray, "*spatial"]:
    """Labels of a model's logits, before those that are not wanted are left out.

    Of overlapping regions only those that are wanted are painted.
    """
    wanted = selection.outputs_of(card)
    threshold = selection.threshold
    if threshold is None:
        return labels_of(logits, card.task, wanted)
    temperature = np.float32(card.quality.temperature if card.quality else 1)
    probabilities = probabilities_of(logits / temperature, card.task)
    if card.task == "regions":
        return _painted(probabilities, threshold, wanted)
    if card.outputs == 2:
        return _painted(probabilities[1:], threshold, [0])
    return np.where(probabilities.max(axis=0) > threshold, labels_of(logits), np.uint8(0))


def labels_of(
    logits: Float[np.ndarray, "k *spatial"],
    task: Task = "exclusive",
    regions: Sequence[int] | None = None,
) -> UInt8[np.ndarray, "*spatial"]:
    """One class index a voxel; of equal logits the first class wins.

    Args:
        logits: one channel a class or region.
        task: how to read them.
        regions: channels that are painted; None is all.
    """
    if task == "regions":
        return _painted(logits, 0.0, range(len(logits)) if regions is None else regions)
    labels = np.zeros(logits.shape[1:], np.uint8)
    # Six times as fast as argmax over the first axis, which moves it to the end
    best = logits[0].copy()
    for index, channel in enumerate(logits[1:], start=1):
        np.maximum(labels, (channel > best) * np.uint8(index), out=labels)
        np.maximum(best, channel, out=best)
    return labels


def _painted(
    channels: Float[np.ndarray, "k *spatial"], cut: float, regions: Sequence[int]
) -> UInt8[np.ndarray, "*spatial"]:
    labels = np.zeros(channels.shape[1:], np.uint8)
    for region in regions:
        np.maximum(labels, (channels[region] > cut) * np.uint8(region + 1), out=labels)
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


class ProbabilityError(NamedTuple):
    """Absolute differences of probabilities."""

    worst: float
    mean: float


def probability_error(
    logits: Float[np.ndarray, "b k *patch"],
    reference: Float[np.ndarray, "b k *patch"],
    task: Task = "exclusive",
) -> ProbabilityError:
    """How far probabilities are from those of a reference."""
    ours, theirs = (probabilities_of(each, task, axis=1) for each in (logits, reference))
    error = np.abs(ours - theirs)
    return ProbabilityError(float(error.max()), float(error.mean()))
