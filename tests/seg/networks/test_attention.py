import pytest
import torch
from torch import nn

from seg.networks.attention import AttentionBlock, SelfAttention
from seg.networks.block import SqueezeExcitation, StochasticDepth, initialise
from seg.networks.layers import Layers


def test_self_attention_equals_torchs_own():
    ours, torchs = SelfAttention(64), nn.MultiheadAttention(64, 2, batch_first=True)
    with torch.no_grad():
        torchs.in_proj_weight.copy_(ours.queries_keys_values.weight)
        torchs.in_proj_bias.copy_(ours.queries_keys_values.bias)
        torchs.out_proj.load_state_dict(ours.out.state_dict())
        x = torch.randn(2, 5, 64)
        torch.testing.assert_close(ours(x), torchs(x, x, x)[0])


@pytest.mark.parametrize("spatial", [(3, 4), (2, 3, 4)])
def test_an_attention_block_starts_as_identity_and_mixes_voxels_later(spatial):
    block = AttentionBlock(48)
    initialise(block)
    x = torch.randn(2, 48, *spatial)
    torch.testing.assert_close(block(x), x)
    with torch.no_grad():
        block.attention.branch.out.weight.normal_()
    moved = x.clone()
    moved[..., -1] *= torch.randn(48, *spatial[:-1])
    changed = (block(moved) - block(x)).abs().amax(dim=(0, 1))
    assert changed.min() > 1e-4


def test_squeeze_excitation_scales_whole_channels():
    scale = SqueezeExcitation(Layers(spatial_dims=2, normalisation="batch", activation="relu"), 8)
    x = torch.rand(2, 8, 5, 5) + 1
    ratio = scale(x) / x
    torch.testing.assert_close(ratio, ratio[..., :1, :1].expand_as(ratio))
    assert ratio.min() > 0
    assert ratio.max() < 1


def test_stochastic_depth_drops_whole_samples_and_keeps_the_mean():
    torch.manual_seed(0)
    drop = StochasticDepth(0.25)
    fx = drop(torch.ones(20_000, 2, 1))
    assert fx.unique().tolist() == pytest.approx([0, 4 / 3])
    torch.testing.assert_close(fx[:, 0], fx[:, 1])
    assert fx.mean() == pytest.approx(1, abs=0.02)
    assert drop.eval()(torch.ones(4, 1)).eq(1).all()
