import numpy as np
import pytest
import torch

from data.phantom import CLASSES
from training.dataset.legend import Legend
from training.learning.losses import make_loss
from training.studies.arms import by_shortcut
from training.studies.setting import Setting
from training.studies.surgery import kept_blocks, path_gradients, permuted, without

SETTING = Setting(data=".", shortcuts=("identity",), layers=(13,), steps=2, edge=32, features=4)
IMAGES = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
LABELS = torch.zeros(2, 1, 32, 32, dtype=torch.int64)
LABELS[..., 8:20, 8:20] = 1
LOSS = make_loss(Legend(CLASSES[:2]))


def network_with(shortcut, *, branches=True):
    torch.manual_seed(0)
    network = by_shortcut(shortcut).network(SETTING, (32, 32), (1, 2), 13).eval()
    if branches:  # fresh branches give 0, and would hide what is done to them
        for name, weight in network.named_parameters():
            if name.endswith("weight") and not weight.any():
                torch.nn.init.normal_(weight, std=0.3)
    return network


@pytest.mark.parametrize("shortcut", ["identity", "preact"])
def test_a_residual_block_is_removed_as_the_library_does(shortcut):
    network = network_with(shortcut)
    gone = kept_blocks(network)[:2]
    expected = network.without(gone)(IMAGES)
    assert torch.equal(without(network, gone)(IMAGES), expected)
    assert not torch.allclose(network(IMAGES), expected)


def test_a_plain_block_that_is_removed_passes_its_input_on():
    network = network_with("none")
    name = kept_blocks(network)[1]
    assert isinstance(without(network, [name]).get_submodule(name), torch.nn.Identity)


def test_blocks_whose_shape_changes_are_left_alone():
    assert len(kept_blocks(network_with("none"))) == 5


def test_swapping_keeps_every_block_and_its_stage():
    network = network_with("identity")
    swapped = permuted(network, 3, np.random.default_rng(0))
    for stage, other in zip(network.encoder.stages, swapped.encoder.stages, strict=True):
        sums = [
            sorted(sum(p.sum().item() for p in block.parameters()) for block in each.blocks)
            for each in (stage, other)
        ]
        assert sums[0] == pytest.approx(sums[1])
    assert not torch.allclose(network(IMAGES), swapped(IMAGES))


def test_before_training_only_the_path_around_all_branches_carries_gradient():
    network = network_with("preact", branches=False)
    shares = path_gradients(network, (IMAGES, LABELS), LOSS, 1, np.random.default_rng(0))
    assert shares[0] == pytest.approx(1)
    assert shares[1:] == pytest.approx(0)


def test_shares_of_all_paths_add_up_to_one():
    network = network_with("identity")
    shares = path_gradients(network, (IMAGES, LABELS), LOSS, 1, np.random.default_rng(0))
    assert len(shares) == 6
    assert shares.sum() == pytest.approx(1)
    assert shares[0] < 1
