"""Whether keeping the largest component helps, decided on cases that a model has not seen.

Letters: ``n`` cases, ``k`` foreground classes.
"""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float64, UInt8

from seg.images import Mask
from seg.inference.labels.postprocess import largest_component
from seg.metrics import dice
from seg.model_package import Postprocessing
from training.dataset import Legend
from training.evaluation.regions import regions
from training.evaluation.scores import Tried

_PLAIN, _LARGEST = 0, 1


def choose_postprocessing(
    cases: Iterable[tuple[Mask, Mask]], legend: Legend
) -> tuple[Postprocessing, tuple[Tried, ...]]:
    """Keep the largest component of all foreground, then of each class, where it helps.

    It helps where the mean Dice rises and, for all foreground, that of no class falls. Nothing is
    tried where classes overlap: a painted mask does not hold what lies below.

    Args:
        cases: predicted masks without postprocessing, and their references.
        legend: of the references.

    Source: Isensee et al., nnU-Net, Nature Methods 18 (2021).
    """
    if legend.regions:
        return Postprocessing(), ()
    tables = np.stack([_dice_table(*pair, legend) for pair in cases])
    means = _mean_over_cases(tables)
    plain, largest = (means[base, :, _PLAIN] for base in (_PLAIN, _LARGEST))
    together = bool(largest.mean() > plain.mean() and (largest >= plain).all())
    tried = [Tried(rule="all foreground", before=plain.mean(), after=largest.mean(), kept=together)]
    base = means[_LARGEST if together else _PLAIN]
    kept = []
    for info, (before, after) in zip(legend.classes[1:], base, strict=True):
        helps = bool(after > before)
        tried.append(Tried(rule=info.name, before=before, after=after, kept=helps))
        kept += [info.name] if helps else []
    rules = Postprocessing(largest_foreground=together, largest_component=tuple(kept))
    return rules, tuple(tried)


def _dice_table(prediction: Mask, reference: Mask, legend: Legend) -> Float64[np.ndarray, "2 k 2"]:
    """Dice of each class: of all foreground as it is or its largest, of the class likewise."""
    indices = [info.index for info in legend.classes[1:]]
    found = regions(legend)
    table = np.empty((2, len(indices), 2))
    labels: UInt8[np.ndarray, "*spatial"] = prediction.array.astype(np.uint8)
    for base, array in enumerate((labels, largest_component(labels, indices))):
        for row, info in enumerate(legend.classes[1:]):
            region = found[info.name]
            for rule, painted in enumerate((array, largest_component(array, [info.index]))):
                table[base, row, rule] = dice(
                    region.predicted(painted, reference.array), region.referred(reference.array)
                )
    return table


def _mean_over_cases(tables: Float64[np.ndarray, "n 2 k 2"]) -> Float64[np.ndarray, "2 k 2"]:
    """A class that is in no case has 0 everywhere, so that no rule helps it."""
    counted = np.isfinite(tables)
    total = np.where(counted, tables, 0).sum(axis=0)
    return np.asarray(total / np.maximum(counted.sum(axis=0), 1))
