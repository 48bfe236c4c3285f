"""Losses against formulas written out by hand, and against MONAI's."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai import losses
from torch.nn import functional

from seg.errors import ConfigError
from training.dataset import IGNORE, Legend
from training.dataset.classes import make_classes
from training.learning.losses import (
    LOSSES,
    LossRecipe,
    Rules,
    SegmentationLoss,
    boundary,
    centrelines,
    focal_entropy,
    make_loss,
    overlap,
)

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


def right_answer(legend, labels, sureness=20.0):
    """Logits that say what the labels say."""
    members = torch.from_numpy(legend.members())[labels[:, 0].long()].movedim(-1, 1)
    if not legend.regions:
        members = torch.cat([~members.any(dim=1, keepdim=True), members], dim=1)
    return 2 * sureness * members - sureness


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("legend", ALL)
def test_a_sure_and_right_answer_costs_nothing(legend, name):
    _, labels = example(legend)
    right = right_answer(legend, labels)
    loss = make_loss(legend, name)
    assert loss(right, labels) < 1e-3
    assert loss(-right, labels) > 0.5


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("legend", ALL)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 99))
def test_nearer_to_the_truth_costs_less(legend, name, seed):
    logits, labels = example(legend, seed=seed)
    right = right_answer(legend, labels, sureness=4.0)
    loss = make_loss(legend, name)
    costs = [float(loss(torch.lerp(logits, right, share), labels)) for share in (0, 0.3, 0.6, 1)]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > costs[-1]


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("legend", [SPARSE, OVERLAPPING])
def test_what_nobody_annotated_changes_neither_loss_nor_gradient(legend, name):
    logits, labels = example(legend)
    labels[:, :, 3:] = IGNORE
    loss = make_loss(legend, name)
    logits.requires_grad_()
    first = loss(logits, labels)
    first.backward()
    assert torch.equal(logits.grad[:, :, 3:], torch.zeros_like(logits.grad[:, :, 3:]))
    assert logits.grad[:, :, :3].abs().max() > 0
    other = logits.detach().clone()
    other[:, :, 3:] = 9.0
    torch.testing.assert_close(loss(other, labels), first.detach())


@pytest.mark.parametrize("name", ["dice_ce", "dice_focal", "tversky"])
@pytest.mark.parametrize("legend", [SPARSE, OVERLAPPING])
def test_what_nobody_annotated_might_as_well_not_be_there(legend, name):
    logits, labels = example(legend)
    labels[:, :, 3:] = IGNORE
    loss = make_loss(legend, name)
    torch.testing.assert_close(loss(logits, labels), loss(logits[:, :, :3], labels[:, :, :3]))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("legend", [SPARSE, OVERLAPPING])
def test_a_patch_without_any_annotation_gives_no_gradient_and_no_nan(legend, name):
    logits, labels = example(legend)
    logits.requires_grad_()
    loss = make_loss(legend, name)(logits, torch.full_like(labels, IGNORE))
    loss.backward()
    assert torch.isfinite(loss)
    assert not logits.grad.any()


@pytest.mark.parametrize("name", LOSSES)
def test_volumes_and_their_coarser_levels_have_gradients(name):
    logits, labels = example(EXCLUSIVE, size=(2, 4, 8, 8))
    levels = [logits.requires_grad_(), logits.detach()[..., ::2, ::2, ::2].requires_grad_()]
    make_loss(EXCLUSIVE, name)(levels, labels).backward()
    assert all(each.grad.abs().max() > 0 for each in levels)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        pytest.param(
            overlap(),
            losses.DiceLoss(
                softmax=True, to_onehot_y=True, include_background=False, batch=True
            ),
            id="Dice",
        ),
        pytest.param(
            overlap(misses=0.7),
            losses.TverskyLoss(
                softmax=True, to_onehot_y=True, include_background=False, batch=True,
                alpha=0.3, beta=0.7,
            ),
            id="Tversky",
        ),
        pytest.param(
            focal_entropy(focus=2.0),
            # its mean counts every channel, of which all but the true one are 0
            lambda *each: 3 * losses.FocalLoss(use_softmax=True, to_onehot_y=True)(*each),
            id="focal",
        ),
    ],
)  # fmt: skip
def test_terms_are_those_of_monai(ours, theirs):
    logits, labels = example(EXCLUSIVE)
    loss = SegmentationLoss(
        LossRecipe([(1.0, ours)]), Rules(EXCLUSIVE, torch.ones(3), shared=False)
    )
    torch.testing.assert_close(loss(logits, labels), theirs(logits, labels))


def test_a_false_voxel_costs_more_at_the_boundary_loss_the_farther_it_lies():
    labels = torch.zeros(1, 1, 16, 16)
    labels[..., :4] = 1
    costs = []
    for column in (5, 9, 15):
        said = labels.clone()
        said[..., 8, column] = 1
        answer = right_answer(EXCLUSIVE, said)
        rules = Rules(EXCLUSIVE, torch.ones(3), shared=False)
        costs.append(float(SegmentationLoss(LossRecipe([(1.0, boundary)]), rules)(answer, labels)))
    # two classes, of which the other is nowhere; 256 voxels; distances of 2, 6 and 12
    assert costs == pytest.approx([distance / 256 / 2 for distance in (2, 6, 12)], rel=1e-4)


def test_a_broken_tube_costs_more_at_cldice_than_a_thin_one():
    labels = torch.zeros(1, 1, 15, 30)
    labels[..., 4:9, 2:28] = 1
    broken, thin = labels.clone(), labels.clone()
    broken[..., 14:16] = 0
    thin[..., 4, :] = 0
    rules = Rules(EXCLUSIVE, torch.ones(3), shared=False)
    loss = SegmentationLoss(LossRecipe([(1.0, centrelines)]), rules)
    costs = [float(loss(right_answer(EXCLUSIVE, each), labels)) for each in (broken, thin)]
    assert costs[0] > 2 * costs[1]


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("legend", ALL)
def test_a_weight_raises_the_cost_of_its_class(legend, name):
    _, labels = example(legend)
    wrong_in_b = right_answer(legend, labels)
    channel = 1 if legend.regions else 2
    wrong_in_b[:, channel] = -wrong_in_b[:, channel]
    heavy, light = (
        make_loss(legend, name, {"b": weight})(wrong_in_b, labels) for weight in (3.0, 1 / 3)
    )
    assert heavy > light


def test_a_weight_of_an_unknown_class_is_refused():
    with pytest.raises(ConfigError, match="does not have; did you mean a"):
        make_loss(EXCLUSIVE, class_weights={"aa": 2.0})


def test_an_ignore_label_that_is_not_used_changes_nothing():
    logits, labels = example(EXCLUSIVE)
    torch.testing.assert_close(
        make_loss(SPARSE)(logits, labels),
        make_loss(EXCLUSIVE)(logits, labels),
    )


def test_overlapping_classes_are_questions_of_their_own():
    logits, labels = example(OVERLAPPING)
    targets = torch.cat([labels > 0, labels == 2], dim=1).float()
    p = logits.sigmoid()
    axes = (0, 2, 3)
    dice = (2 * (p * targets).sum(axes) + 1e-5) / ((p + targets).sum(axes) + 1e-5)
    focal_entropy = functional.binary_cross_entropy(p, targets)
    expected = (1 - dice).mean() + focal_entropy
    torch.testing.assert_close(make_loss(OVERLAPPING)(logits, labels), expected)


@pytest.mark.parametrize("legend", ALL)
def test_every_resolution_counts_half_of_the_one_before(legend):
    logits, labels = example(legend)
    coarse = logits[:, :, ::2, ::2]
    loss = make_loss(legend)
    smaller = functional.interpolate(labels, size=(4, 4), mode="nearest-exact")
    expected = loss(logits, labels) + 0.5 * loss(coarse, smaller)
    torch.testing.assert_close(loss([logits, coarse], labels), expected)


def test_painted_labels_show_the_last_class_and_keep_what_is_not_annotated():
    labels = np.array([0, 1, 2, IGNORE], np.uint8)
    np.testing.assert_array_equal(OVERLAPPING.painted(labels), labels)
    reversed_order = Legend(CLASSES, regions=((2,), (1, 2)))
    np.testing.assert_array_equal(reversed_order.painted(labels[:3]), [0, 2, 2])
