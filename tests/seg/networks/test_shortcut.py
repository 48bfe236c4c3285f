from itertools import pairwise

import pytest
import torch

from seg.errors import ConfigError
from seg.networks.layers import Layers
from seg.networks.shortcut import SHORTCUTS, BlockShape, Dense, Highway

LAYERS = Layers(spatial_dims=2, normalisation="batch", activation="relu")


def shape(in_channels=3, branch_channels=3, out_channels=3, stride=(1, 1)):
    return BlockShape(
        in_channels=in_channels,
        branch_channels=branch_channels,
        out_channels=out_channels,
        kernel_size=(3, 3),
        stride=stride,
    )


def pair():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 2, 3, 8, 8, generator=generator)


@pytest.mark.parametrize(
    ("name", "equation"),
    [
        ("none", lambda x, fx: fx.relu()),
        ("identity", lambda x, fx: (x + fx).relu()),
        ("preact", lambda x, fx: x + fx),
        ("gated", lambda x, fx: x + 0.3 * fx),
        ("gated-channel", lambda x, fx: x + 0.3 * fx),
        ("dense", lambda x, fx: torch.cat((x, fx), dim=1)),
    ],
)
def test_a_shortcut_is_its_papers_equation(name, equation):
    x, fx = pair()
    join = SHORTCUTS[name](LAYERS, shape(out_channels=6 if name == "dense" else 3))
    with torch.no_grad():
        if hasattr(join, "gate"):
            join.gate.fill_(0.3)
        torch.testing.assert_close(join(x.clone(), fx.clone()), equation(x, fx))


@pytest.mark.parametrize(
    ("bias", "equation"),
    [
        pytest.param(-1e9, lambda x, fx: x, id="closed"),
        pytest.param(1e9, lambda x, fx: fx.relu(), id="open"),
        pytest.param(0.0, lambda x, fx: (x + fx.relu()) / 2, id="half open"),
    ],
)
def test_a_highway_carries_what_its_gate_does_not_transform(bias, equation):
    x, fx = pair()
    highway = Highway(LAYERS, shape())
    with torch.no_grad():
        highway.transform.weight.zero_()
        highway.transform.bias.fill_(bias)
        torch.testing.assert_close(highway(x, fx.clone()), equation(x, fx))


@pytest.mark.parametrize(("features", "blocks"), [(32, 1), (32, 4), (48, 5), (7, 6)])
def test_a_dense_stage_ends_with_the_features_asked_for(features, blocks):
    plan = Dense.plan(features, blocks)
    assert plan[-1][1] == features
    for (growth, before), (_, after) in pairwise(plan):
        assert after == before + growth


def test_a_dense_stage_with_more_blocks_than_features_is_refused():
    with pytest.raises(ConfigError, match="more features than blocks in a stage, got 6 features"):
        Dense.plan(6, 6)


def test_a_pooled_projection_lets_every_voxel_through_and_a_strided_one_does_not():
    reached = {}
    for projections in ("pooled", "strided"):
        layers = Layers(
            spatial_dims=2, normalisation="batch", activation="relu", projections=projections
        )
        x = torch.randn(2, 3, 4, 4, requires_grad=True)
        layers.projection(3, 5, (2, 2)).eval()(x).sum().backward()
        reached[projections] = (x.grad != 0).float().mean().item()
    assert reached == {"pooled": 1.0, "strided": 0.25}
