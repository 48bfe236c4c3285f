"""The Dice that is watched, and by which variants are chosen."""

import math

import pytest
import torch

from seg.images import ClassInfo
from training.dataset.legend import IGNORE, Legend
from training.learning.pooled_dice import PooledDice

LEGEND = Legend(
    tuple(
        ClassInfo(index=i, name=name, color=(i, i, i))
        for i, name in enumerate(("background", "a", "b"))
    )
)
LABELS = torch.tensor([[0, 1, 1, 1, 0, 0]], dtype=torch.uint8)


def logits_of(predicted):
    return torch.nn.functional.one_hot(torch.tensor([predicted]), 3).movedim(-1, 1).float()


def test_a_class_that_is_nowhere_does_not_lift_the_mean():
    dice = PooledDice(LEGEND)(logits_of([0, 1, 0, 0, 1, 0]), LABELS)
    assert float(dice) == pytest.approx(2 * 1 / (2 + 3))


def test_a_class_that_is_predicted_alone_counts_nothing_right():
    dice = PooledDice(LEGEND)(logits_of([2, 1, 1, 1, 0, 0]), LABELS)
    assert float(dice) == pytest.approx((1 + 0) / 2)


def test_what_nobody_annotated_is_left_out():
    labels = LABELS.clone()
    labels[0, 4] = IGNORE
    dice = PooledDice(LEGEND)(logits_of([0, 1, 1, 1, 2, 0]), labels)
    assert float(dice) == 1


def test_without_any_class_there_is_no_dice():
    dice = PooledDice(LEGEND)(logits_of([0] * 6), torch.zeros_like(LABELS))
    assert math.isnan(float(dice))
