import pytest
import torch

from tests.training.studies.effects.test_gradients import IMAGES, LABELS, LOSS
from training.studies.arms import Arm, by_shortcut
from training.studies.effects.gradients import gradient_norms
from training.studies.effects.transformer import WithoutShortcuts
from training.studies.effects.vanishing import ARMS, PLAIN, TWIN
from training.studies.setting import Setting

SETTING = Setting(data=".", shortcuts=("identity",), layers=(9,), steps=2, edge=32, features=8)
ARM = {arm.name: arm for arm in ARMS}


def made(arm, layers=9):
    torch.manual_seed(0)
    return arm.network(SETTING, (32, 32), (1, 2), layers)


def first_to_last(arm, layers=105):
    norms = gradient_norms(made(arm, layers), (IMAGES, LABELS), LOSS)
    return norms[0] / norms[-1]


def test_a_plain_network_loses_its_gradient_only_where_nothing_makes_up_for_rectifiers():
    assert first_to_last(ARM[PLAIN]) < 1e-6
    assert first_to_last(ARM["plain, He's start"]) > 1e-2
    assert first_to_last(ARM[TWIN]) == pytest.approx(1, abs=0.5)


@pytest.mark.parametrize("shortcut", ["identity", "preact"])
def test_branches_begin_at_nothing_unless_they_are_drawn(shortcut):
    def without_branches(network):
        return network.eval().without(network.droppable_blocks())(IMAGES)

    zero, drawn = made(by_shortcut(shortcut)), made(Arm("drawn", shortcut, start="drawn"))
    assert torch.allclose(zero.eval()(IMAGES), without_branches(zero), atol=1e-5)
    assert not torch.allclose(drawn.eval()(IMAGES), without_branches(drawn), atol=1e-3)


def test_nothing_is_normalised_where_that_is_asked_for():
    network = made(ARM[PLAIN]).eval()
    with torch.no_grad():
        small, large = (network.encoder(scale * IMAGES)[-1] for scale in (1, 7))
    torch.testing.assert_close(large, 7 * small, rtol=1e-3, atol=1e-6)


def test_attention_without_its_shortcuts_hands_nothing_on_but_what_it_makes():
    changes = (("attention_blocks", 1),)
    whole, cut = (made(kind("a", "identity", changes)) for kind in (Arm, WithoutShortcuts))
    x = torch.randn(1, 16, 8, 8)
    with torch.no_grad():
        assert torch.equal(whole.encoder.attention(x), x)  # a fresh block adds nothing
        for name, weight in cut.encoder.attention.named_parameters():
            if "1.out" in name:
                weight.zero_()
        assert not cut.encoder.attention(x).any()
