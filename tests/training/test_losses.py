"""The loss against formulas written out by hand."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from training.dataset import IGNORE, Legend
from training.dataset.classes import make_classes
from training.losses import dice_and_cross_entropy

CLASSES = make_classes(["background", "a", "b"], {})
EXCLUSIVE = Legend(CLASSES)
SPARSE = Legend(CLASSES, ignores=True)
# label 1 is a alone, label 2 both of them
OVERLAPPING = Legend(CLASSES, regions=((1, 2), (2,)), ignores=True)
ALL = [
    pytest.param(EXCLUSIVE, id="exclusive"),
    pytest.param(SPARSE, id="sparse"),
    pytest.param(OVERLAPPING, id="overlapping"),
]


def example(legend, size=(2, 8, 8), seed=0):
    random = torch.Generator().manual_seed(seed)
    batch, *spatial = size
    logits = torch.randn((batch, legend.outputs, *spatial), generator=random)
    labels = torch.randint(legend.num_labels, (batch, 1, *spatial), generator=random)
    return logits, labels.float()


@pytest.mark.parametrize("legend", ALL)
def test_a_sure_and_right_answer_costs_nothing(legend):
    _, labels = example(legend)
    members = torch.from_numpy(legend.members())[labels[:, 0].long()].movedim(-1, 1)
    if not legend.regions:
        members = torch.cat([~members.any(dim=1, keepdim=True), members], dim=1)
    loss = dice_and_cross_entropy(legend)
    assert loss(40.0 * members - 20.0, labels) < 1e-4
    assert loss(20.0 - 40.0 * members, labels) > 1


@pytest.mark.parametrize("legend", [SPARSE, OVERLAPPING])
def test_what_nobody_annotated_changes_neither_loss_nor_gradient(legend):
    logits, labels = example(legend)
    labels[:, :, 3:] = IGNORE
    loss = dice_and_cross_entropy(legend)
    logits.requires_grad_()
    first = loss(logits, labels)
    first.backward()
    assert torch.equal(logits.grad[:, :, 3:], torch.zeros_like(logits.grad[:, :, 3:]))
    assert logits.grad[:, :, :3].abs().min() > 0
    other = logits.detach().clone()
    other[:, :, 3:] = 9.0
    torch.testing.assert_close(loss(other, labels), first.detach())
    torch.testing.assert_close(loss(logits[:, :, :3], labels[:, :, :3]), first.detach())


@pytest.mark.parametrize("legend", [SPARSE, OVERLAPPING])
def test_a_patch_without_any_annotation_gives_no_gradient_and_no_nan(legend):
    logits, labels = example(legend)
    logits.requires_grad_()
    loss = dice_and_cross_entropy(legend)(logits, torch.full_like(labels, IGNORE))
    loss.backward()
    assert torch.isfinite(loss)
    assert not logits.grad.any()


def test_an_ignore_label_that_is_not_used_changes_nothing():
    logits, labels = example(EXCLUSIVE)
    torch.testing.assert_close(
        dice_and_cross_entropy(SPARSE)(logits, labels),
        dice_and_cross_entropy(EXCLUSIVE)(logits, labels),
    )


def test_overlapping_classes_are_questions_of_their_own():
    logits, labels = example(OVERLAPPING)
    targets = torch.cat([labels > 0, labels == 2], dim=1).float()
    p = logits.sigmoid()
    axes = (0, 2, 3)
    dice = (2 * (p * targets).sum(axes) + 1e-5) / ((p + targets).sum(axes) + 1e-5)
    entropy = functional.binary_cross_entropy(p, targets)
    expected = (1 - dice).mean() + entropy
    torch.testing.assert_close(dice_and_cross_entropy(OVERLAPPING)(logits, labels), expected)


@pytest.mark.parametrize("legend", ALL)
def test_every_resolution_counts_half_of_the_one_before(legend):
    logits, labels = example(legend)
    coarse = logits[:, :, ::2, ::2]
    loss = dice_and_cross_entropy(legend)
    smaller = functional.interpolate(labels, size=(4, 4), mode="nearest-exact")
    expected = loss(logits, labels) + 0.5 * loss(coarse, smaller)
    torch.testing.assert_close(loss([logits, coarse], labels), expected)


def test_painted_labels_show_the_last_class_and_keep_what_is_not_annotated():
    labels = np.array([0, 1, 2, IGNORE], np.uint8)
    np.testing.assert_array_equal(OVERLAPPING.painted(labels), labels)
    reversed_order = Legend(CLASSES, regions=((2,), (1, 2)))
    np.testing.assert_array_equal(reversed_order.painted(labels[:3]), [0, 2, 2])
