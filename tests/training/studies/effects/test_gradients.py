import pytest
import torch

from data.phantom import CLASSES
from training.dataset.legend import Legend
from training.learning.losses import make_loss
from training.studies.arms import by_shortcut
from training.studies.effects.gates import gates_by_class, open_gates
from training.studies.effects.gradients import gradient_norms, input_gradient_correlation
from training.studies.setting import Setting

SETTING = Setting(data=".", shortcuts=("identity",), layers=(9,), steps=2, edge=32, features=8)
IMAGES = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
LABELS = torch.zeros(2, 1, 32, 32, dtype=torch.int64)
LABELS[..., 8:20, 8:20] = 1
LOSS = make_loss(Legend(CLASSES[:2]))


def network_with(shortcut, layers=9):
    torch.manual_seed(0)
    return by_shortcut(shortcut).network(SETTING, (32, 32), (1, 2), layers)


@pytest.mark.parametrize("shortcut", ["none", "identity", "highway", "dense"])
def test_every_block_has_a_gradient(shortcut):
    norms = gradient_norms(network_with(shortcut), (IMAGES, LABELS), LOSS)
    assert len(norms) == 4
    assert min(norms) > 0


def test_measuring_leaves_no_gradient_and_no_hook():
    network = network_with("identity")
    gradient_norms(network, (IMAGES, LABELS), LOSS)
    assert all(p.grad is None for p in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())


def test_the_gradients_of_a_linear_network_are_the_same_everywhere():
    linear = torch.nn.Conv2d(1, 2, 3)
    assert input_gradient_correlation(linear, IMAGES) == pytest.approx(1)


def test_gradients_shatter_with_depth_in_plain_networks_only():
    plain, deeper = (input_gradient_correlation(network_with("none", n), IMAGES) for n in (9, 45))
    residual = input_gradient_correlation(network_with("identity", 45), IMAGES)
    assert deeper < plain < residual


def test_gates_start_where_the_papers_start_them():
    assert open_gates(network_with("gated"), (IMAGES, LABELS)) == [0] * 4
    assert open_gates(network_with("gated-channel"), (IMAGES, LABELS)) == [0] * 4
    opened = open_gates(network_with("highway"), (IMAGES, LABELS))
    assert all(0.01 < gate < 0.5 for gate in opened)


def test_a_network_without_gates_is_told_so():
    with pytest.raises(Exception, match="only gated, gated-channel and highway have gates"):
        open_gates(network_with("identity"), (IMAGES, LABELS))


def test_gates_that_voxels_set_are_told_by_what_the_voxels_show():
    network = network_with("highway")
    by_class = gates_by_class(network, (IMAGES, LABELS), 2)
    assert [set(block) for block in by_class] == [{0, 1}] * 4
    share = float((LABELS == 1).float().mean())
    overall = (1 - share) * by_class[0][0] + share * by_class[0][1]
    assert overall == pytest.approx(open_gates(network, (IMAGES, LABELS))[0], abs=1e-4)
    assert gates_by_class(network_with("gated"), (IMAGES, LABELS), 2) == []
