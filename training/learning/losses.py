"""Losses by name, at every resolution that the network answers in.

All of them are sums of terms, and every term takes exclusive and overlapping classes, weights of
classes, and voxels that nobody annotated (``IGNORE``), which count in none. Letters: ``b`` batch,
``k`` channels of logits, ``f`` foreground classes.

Dice and Tversky are written here and not taken from MONAI, since their sums run over the whole
batch, and with several processes a batch lies on several devices.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import reduce

import torch
from jaxtyping import Bool, Float, Int
from monai.losses import BoundaryLoss, SoftclDiceLoss
from torch import Tensor, distributed, nn
from torch.distributed._functional_collectives import all_reduce
from torch.nn import functional

from seg.errors import ConfigError
from training.dataset.legend import IGNORE, Legend

SMOOTH = 1e-5
"""Of Dice and Tversky: a class that occurs nowhere and is predicted nowhere costs nothing."""
FOCUS = 2.0
"""Exponent of the focal loss (Lin et al.)."""
MISSES = 0.7
"""Weight of missed voxels in the Tversky loss; false alarms have the rest (Salehi et al.)."""


@dataclass(frozen=True)
class LossInput:
    """What a network says at one resolution, and what is right there."""

    logits: Float[Tensor, "b k *patch"]
    labels: Int[Tensor, "b *patch"]
    probabilities: Float[Tensor, "b f *patch"]
    """Of the foreground classes; 0 where nobody annotated."""
    truth: Float[Tensor, "b f *patch"]
    annotated: Bool[Tensor, "b 1 *patch"]


@dataclass(frozen=True)
class Rules:
    """What all terms of a loss go by."""

    legend: Legend
    weights: Tensor
    """One a class, background first."""
    shared: bool
    """Several processes hold a part of the batch each."""

    def total(self, sums: Tensor) -> Tensor:
        """Sums over the whole batch, with their gradient."""
        if not self.shared:
            return sums
        everyone = distributed.group.WORLD
        assert everyone is not None  # they have met before a loss is made
        total: Tensor = all_reduce(sums, "sum", everyone)
        return total

    def mean_of_classes(self, costs: Float[Tensor, "*_ f"]) -> Float[Tensor, ""]:
        """Weighted over the foreground classes, plain over what else there is."""
        weights = self.weights[1:].to(costs)
        return (costs * weights).sum(-1).mean() / weights.sum()


Term = Callable[[LossInput, Rules], Tensor]


def overlap(misses: float = 0.5) -> Term:
    """One minus the Tversky index of the foreground classes over the whole batch.

    With ``misses`` 0.5 that is the Dice coefficient.

    Source: Milletari et al., V-Net, 3DV 2016; Salehi et al., Tversky loss, MLMI 2017.
    """

    def term(answer: LossInput, rules: Rules) -> Tensor:
        p, t = answer.probabilities, answer.truth
        over = (0, *range(2, p.ndim))
        hits, said, right = rules.total(
            torch.stack([(p * t).sum(over), p.sum(over), t.sum(over)])
        ).unbind()
        wrong = (1 - misses) * (said - hits) + misses * (right - hits)
        return rules.mean_of_classes(1 - (hits + SMOOTH) / (hits + wrong + SMOOTH))

    return term


def focal_entropy(focus: float = 0.0) -> Term:
    """Cross-entropy; with a ``focus`` voxels that are right already count less.

    Where classes overlap, each is a question of its own: sigmoid and binary cross-entropy.

    Source: Lin et al., Focal loss, ICCV 2017.
    """

    def term(answer: LossInput, rules: Rules) -> Tensor:
        weights = rules.weights.to(answer.logits)
        if rules.legend.regions:
            costs = functional.binary_cross_entropy_with_logits(
                answer.logits, answer.truth, reduction="none"
            )
            shape = (1, -1) + (1,) * (costs.ndim - 2)
            weight = weights[1:].view(shape) * answer.annotated
        else:
            costs = functional.cross_entropy(
                answer.logits, answer.labels, ignore_index=IGNORE, reduction="none"
            )
            table = functional.pad(weights, (0, IGNORE + 1 - len(weights)))
            weight = table[answer.labels]
        if focus:
            costs = costs * (1 - torch.exp(-costs)) ** focus
        cost, count = rules.total(torch.stack([(costs * weight).sum(), weight.sum()]))
        mean: Tensor = cost / count.clamp(min=SMOOTH)
        return mean

    return term


def centrelines(answer: LossInput, rules: Rules) -> Tensor:
    """One minus the Dice of centrelines, for tubes and nets that must not break.

    Source: Shit et al., clDice, CVPR 2021.
    """
    loss = SoftclDiceLoss(reduction="none")
    p, t = answer.probabilities, answer.truth
    costs = [loss(p[:, i : i + 1], t[:, i : i + 1]) for i in range(p.shape[1])]
    return rules.mean_of_classes(torch.stack(costs, dim=-1))


def boundary(answer: LossInput, rules: Rules) -> Tensor:
    """How far from the true boundary, in voxels, the probability lies that is wrong.

    The paper's loss less that of the truth itself, so that it ends at 0; the gradient is the same.

    Source: Kervadec et al., Boundary loss for highly unbalanced segmentation, MIDL 2019.
    """
    distance = BoundaryLoss().compute_distance_map(answer.truth)
    wrong = ((answer.probabilities - answer.truth) * distance).flatten(2).sum(-1).sum(0)
    wrong, count = rules.total(torch.stack([wrong, answer.annotated.sum().expand_as(wrong)]))
    return rules.mean_of_classes(wrong / count.clamp(min=1))


@dataclass(frozen=True)
class LossRecipe:
    """Terms with their weights."""

    terms: Sequence[tuple[float, Term]]
    rising: Sequence[tuple[float, Term]] = ()
    """These count 0 at the beginning of a training and all at its end."""


LOSSES: Mapping[str, LossRecipe] = {
    # Isensee et al., nnU-Net, Nature Methods 18 (2021).
    "dice_ce": LossRecipe([(1.0, overlap()), (1.0, focal_entropy())]),
    "dice_focal": LossRecipe([(1.0, overlap()), (1.0, focal_entropy(FOCUS))]),
    "tversky": LossRecipe([(1.0, overlap(MISSES))]),
    # The paper's schedule that did best raises the weight step by step.
    "boundary": LossRecipe([(1.0, overlap()), (1.0, focal_entropy())], rising=[(1.0, boundary)]),
    "cldice": LossRecipe([(0.5, overlap()), (0.5, centrelines), (1.0, focal_entropy())]),
}


class SegmentationLoss(nn.Module):
    """A recipe for one dataset, at one resolution."""

    def __init__(self, recipe: LossRecipe, rules: Rules) -> None:
        super().__init__()
        self.recipe = recipe
        self.rules = rules
        self.progress = 1.0
        """Share of the training that is done."""
        # no buffer, which the moving average of the weights would average
        self._members = torch.from_numpy(rules.legend.members())

    def forward(
        self, logits: Float[Tensor, "b k *patch"], labels: Float[Tensor, "b planes *patch"]
    ) -> Float[Tensor, ""]:
        """Return the cost of the classes, which come first; 0 where all is right and sure.

        In float32, whatever the logits are in.
        """
        logits = logits[:, : self.rules.legend.outputs].float()
        if self.rules.weights.device != logits.device:
            self.rules = replace(self.rules, weights=self.rules.weights.to(logits.device))
        answer = self._answer(logits, labels[:, 0].long())
        cost = torch.zeros((), device=logits.device)
        for weight, term in self.recipe.terms:
            cost = cost + weight * term(answer, self.rules)
        for weight, term in self.recipe.rising if self.progress else ():
            cost = cost + self.progress * weight * term(answer, self.rules)
        return cost

    def members_on(self, device: torch.device) -> Bool[Tensor, "256 k"]:
        """``Legend.members``, moved once: a copy at every step would be waited for."""
        if self._members.device != device:
            self._members = self._members.to(device)
        return self._members

    def _answer(
        self, logits: Float[Tensor, "b k *patch"], labels: Int[Tensor, "b *patch"]
    ) -> LossInput:
        legend = self.rules.legend
        annotated = (labels != IGNORE)[:, None]
        probabilities = logits.sigmoid() if legend.regions else logits.softmax(dim=1)[:, 1:]
        if legend.ignores:  # no probability and, as no class has IGNORE, no truth
            probabilities = probabilities * annotated
        truth = self.members_on(labels.device)[labels].movedim(-1, 1).to(logits)
        return LossInput(logits, labels, probabilities, truth, annotated)


LEAST_WEIGHT = 1 / 16
"""Of a coarse resolution."""


class EachResolution(nn.Module):
    """The loss at every resolution, each coarser one at half the weight of the one before.

    As MONAI's DeepSupervisionLoss, which begins with a 0 that it copies to the device, so that
    each step would wait.
    """

    def __init__(self, loss: SegmentationLoss) -> None:
        super().__init__()
        self.loss = loss

    def forward(
        self, logits: Tensor | Sequence[Tensor], labels: Float[Tensor, "b planes *patch"]
    ) -> Float[Tensor, ""]:
        """Return the sum."""
        levels = [logits] if isinstance(logits, Tensor) else logits
        costs: list[Tensor] = []
        for level, said in enumerate(levels):
            there = labels
            if said.shape[2:] != labels.shape[2:]:
                there = functional.interpolate(labels, said.shape[2:], mode="nearest-exact")
            costs.append(max(0.5**level, LEAST_WEIGHT) * self.loss(said.float(), there))
        return reduce(torch.add, costs)


def make_loss(
    legend: Legend,
    name: str = "dice_ce",
    class_weights: Mapping[str, float] | None = None,
    shared: bool = False,
) -> EachResolution:
    """The loss of that name, halved a level of resolution.

    Args:
        legend: what the labels mean.
        name: one of ``LOSSES``.
        class_weights: by class name; 1 where nothing is said.
        shared: several processes hold a part of the batch each, and all call this.

    Raises:
        ConfigError: a class is not known.
    """
    names = [info.name for info in legend.classes]
    for unknown in set(class_weights or {}) - set(names):
        near = get_close_matches(unknown, names, n=1) or names
        raise ConfigError(
            f"class_weights names the class {unknown!r}, which the dataset does not have; did you "
            f"mean {' or '.join(near)}?"
        )
    weights = torch.tensor([(class_weights or {}).get(each, 1.0) for each in names])
    loss = SegmentationLoss(LOSSES[name], Rules(legend, weights, shared))
    return EachResolution(loss)
