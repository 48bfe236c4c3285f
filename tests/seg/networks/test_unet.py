from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from seg.errors import ConfigError
from seg.networks import SHORTCUTS, Additive, ResidualUNet, UNetConfig
from seg.networks.block import BLOCKS, ResidualBlock
from seg.networks.fusion import FUSIONS
from seg.networks.layers import ACTIVATIONS, NORMALISATIONS, PROJECTIONS
from seg.networks.stem import STEMS


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    """Fields of a configuration."""
    spatial_dims = draw(st.sampled_from([2, 3]))
    stages = draw(st.integers(2, 3))

    def axes(numbers: list[int]) -> st.SearchStrategy[tuple[int, ...]]:
        return st.tuples(*[st.sampled_from(numbers)] * spatial_dims)

    shortcut = draw(st.sampled_from(sorted(SHORTCUTS)))
    return {
        "spatial_dims": spatial_dims,
        "in_channels": draw(st.integers(1, 3)),
        "num_classes": draw(st.integers(1, 3)),
        "features": tuple(draw(st.sampled_from([4, 6, 8])) for _ in range(stages)),
        "blocks": tuple(draw(st.integers(1, 2)) for _ in range(stages)),
        "strides": tuple(draw(axes([1, 2])) for _ in range(stages)),
        "kernel_sizes": tuple(draw(axes([1, 3])) for _ in range(stages)),
        "block": draw(st.sampled_from(sorted(BLOCKS))),
        "shortcut": shortcut,
        "projection": draw(st.sampled_from(sorted(PROJECTIONS))),
        "stem": draw(st.sampled_from(sorted(STEMS))),
        "squeeze_excitation": draw(st.booleans()),
        "attention_blocks": draw(st.integers(0, 1)),
        "checkpointed": draw(st.booleans()),
        "normalisation": draw(st.sampled_from(sorted(NORMALISATIONS))),
        "activation": draw(st.sampled_from(sorted(ACTIVATIONS))),
        "stochastic_depth": draw(st.sampled_from([0.0, 0.3]))
        if SHORTCUTS[shortcut].additive
        else 0.0,
        "decoder": draw(st.sampled_from(sorted(FUSIONS))),
        "deep_supervision": draw(st.booleans()),
    }


def tiny(**changes: object) -> UNetConfig:
    config = UNetConfig(
        spatial_dims=2,
        in_channels=1,
        num_classes=2,
        features=(4, 6, 8),
        blocks=(2, 2, 2),
        strides=((1, 1), (2, 2), (2, 2)),
        kernel_sizes=((3, 3),) * 3,
    )
    return replace(config, **changes)


def trained(config: UNetConfig) -> ResidualUNet:
    """A network whose every weight is far from its special value at the start."""
    network = ResidualUNet(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.2 * torch.randn(weight.shape, generator=generator))
    return network


def image_for(config: UNetConfig, batch: int = 2) -> torch.Tensor:
    size = [4 * stride for stride in config.total_stride]
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, config.in_channels, *size, generator=generator)


few = settings(max_examples=12, deadline=None)


@few
@given(configs())
def test_logits_have_the_size_of_the_image(fields):
    config = UNetConfig(**fields)
    image = image_for(config)
    logits = ResidualUNet(config).eval()(image)
    assert logits.shape == (2, config.num_classes, *image.shape[2:])


@few
@given(configs())
def test_deep_supervision_gives_a_list_that_starts_at_full_size(fields):
    config = UNetConfig(**(fields | {"deep_supervision": True}))
    image = image_for(config)
    levels = ResidualUNet(config).train()(image)
    assert levels[0].shape == (2, config.num_classes, *image.shape[2:])
    assert len(levels) == max(1, len(config.features) - 2)
    for level, finer in zip(levels[1:], levels[:-1], strict=True):
        assert level.shape[2] <= finer.shape[2]


@few
@given(configs())
def test_every_weight_has_one_name(fields):
    config = UNetConfig(**fields)
    tensors = ResidualUNet(config).state_dict(keep_vars=True)
    assert len({id(tensor) for tensor in tensors.values()}) == len(tensors)


@few
@given(configs())
def test_every_weight_takes_part_in_the_loss(fields):
    config = UNetConfig(**fields)
    network = trained(config).train()
    logits = network(image_for(config))
    levels = logits if isinstance(logits, list) else [logits]
    sum((level**2).mean() for level in levels).backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


@few
@given(configs(), st.data())
def test_without_a_block_equals_its_branch_at_zero(fields, data):
    config = UNetConfig(**fields)
    network = trained(config).eval()
    image = image_for(config)
    droppable = network.droppable_blocks(reshaping=True)
    dropped = data.draw(st.sets(st.sampled_from(droppable))) if droppable else set()
    shallower = network.without(dropped)
    hooks = [
        network.get_submodule(name).branch.register_forward_hook(lambda _m, _i, fx: fx * 0)
        for name in dropped
    ]
    with torch.no_grad():
        torch.testing.assert_close(shallower(image), network(image), rtol=0, atol=0)
    for hook in hooks:
        hook.remove()
    assert set(shallower.droppable_blocks(reshaping=True)) == set(droppable) - dropped
    assert shallower.state_dict().keys() <= network.state_dict().keys()


@pytest.mark.parametrize("shortcut", [name for name, s in SHORTCUTS.items() if s.additive])
def test_an_additive_network_starts_as_if_its_blocks_were_not_there(shortcut):
    config = tiny(shortcut=shortcut, activation="relu")
    network = ResidualUNet(config).eval()
    shallower = network.without(network.droppable_blocks())
    assert sum(isinstance(m, ResidualBlock) for m in shallower.modules()) == 2
    torch.testing.assert_close(shallower(image_for(config)), network(image_for(config)))


def test_a_shallower_network_can_be_trained():
    network = trained(tiny()).train()
    shallower = network.without(network.droppable_blocks()[:2])
    shallower(image_for(network.config)).mean().backward()
    assert all(weight.grad is not None for weight in shallower.parameters())


def test_a_shallower_network_leaves_the_full_one_alone():
    network = ResidualUNet(tiny())
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    shallower = network.without(network.droppable_blocks()[:1])
    with torch.no_grad():
        for weight in shallower.parameters():
            weight.zero_()
    for name, weight in network.state_dict().items():
        torch.testing.assert_close(weight, before[name])


def test_blocks_are_skipped_for_a_while_and_come_back():
    network = trained(tiny()).eval()
    image = image_for(network.config)
    dropped = network.droppable_blocks()[::2]
    whole, shallow = network(image), network.without(dropped)(image)
    with network.skipping(dropped):
        torch.testing.assert_close(network(image), shallow, rtol=0, atol=0)
    torch.testing.assert_close(network(image), whole, rtol=0, atol=0)
    with pytest.raises(ConfigError), network.skipping([*dropped, "nothing"]):
        pass
    torch.testing.assert_close(network(image), whole, rtol=0, atol=0)


def test_only_blocks_that_add_and_keep_the_shape_can_be_dropped():
    assert ResidualUNet(tiny()).droppable_blocks() == (
        "encoder.stages.0.blocks.0",
        "encoder.stages.0.blocks.1",
        "encoder.stages.1.blocks.1",
        "encoder.stages.2.blocks.1",
    )
    assert ResidualUNet(tiny(shortcut="none")).droppable_blocks() == ()


def test_a_block_that_changes_the_shape_leaves_its_projection():
    network = trained(tiny()).eval()
    name = "encoder.stages.1.blocks.0"
    assert name in network.droppable_blocks(reshaping=True)
    left = network.without([name]).get_submodule(name)
    assert all(n.startswith("shortcut.project.") for n, _ in left.named_parameters())


def test_a_block_that_cannot_be_dropped_is_told_with_its_neighbours():
    network = ResidualUNet(tiny())
    with pytest.raises(ConfigError, match=r"stages\.1\.blocks\.7'; the nearest are .*blocks\.1"):
        network.without(["encoder.stages.1.blocks.7"])


def test_stochastic_depth_rises_linearly_and_keeps_the_mean():
    network = ResidualUNet(tiny(stochastic_depth=0.6))
    rates = [m.rate for m in network.modules() if hasattr(m, "rate")]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    drop = network.encoder.stages[2].blocks[1].drop.train()
    torch.manual_seed(0)
    assert drop(torch.ones(20_000, 1, 1, 1)).mean() == pytest.approx(1, abs=0.03)


def test_a_shortcut_of_ones_own_takes_five_lines(monkeypatch):
    class Scaled(Additive):
        def forward(self, x, fx):
            return self.project(x) + 0.1 * fx

    monkeypatch.setitem(SHORTCUTS, "scaled", Scaled)
    network = trained(tiny(shortcut="scaled")).eval()
    image = image_for(network.config)
    assert network(image).shape == (2, 2, *image.shape[2:])
    assert len(network.droppable_blocks()) == 4


def test_sizes_that_do_not_divide_are_refused():
    with pytest.raises(ConfigError, match=r"multiples of \(4, 4\), got \(16, 18\)"):
        ResidualUNet(tiny())(torch.zeros(1, 1, 16, 18))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shortcut": "idenity"}, "no shortcut is called 'idenity'; did you mean identity"),
        ({"normalisation": "layer"}, "no normalisation is called 'layer'"),
        ({"blocks": (1, 2)}, "one entry a stage, got .*'blocks': 2"),
        ({"blocks": (1, 0, 1)}, "blocks must be 1 or more a stage"),
        ({"num_classes": 0}, "num_classes must be 1 or more, got 0"),
        ({"spatial_dims": 4}, "spatial_dims is 2 or 3, got 4"),
        ({"strides": ((1, 1), (2, 2), (2,))}, r"strides need 2 numbers .* got \(2,\)"),
        ({"decoder_features": (4,)}, r"decoder_features needs 2 numbers, .* got \(4,\)"),
        ({"weights": "imagenet"}, "weights='imagenet' need an encoder that was trained"),
        ({"blocks": (2, 9, 2), "shortcut": "dense"}, "got 6 features for 9 blocks"),
        ({"kernel_sizes": ((3, 3), (2, 2), (3, 3))}, "kernel sizes must be odd"),
        ({"stochastic_depth": 1.0}, r"a rate in \[0, 1\), got 1.0"),
        ({"stochastic_depth": 0.1, "shortcut": "none"}, "needs a shortcut that adds, 'none'"),
    ],
)
def test_a_config_that_cannot_work_is_refused_in_one_sentence(changes, words):
    with pytest.raises(ConfigError, match=words):
        tiny(**changes)


def test_heads_are_the_only_layers_with_a_bias_that_no_normalisation_removes():
    network = ResidualUNet(tiny())
    with_bias = [n for n, m in network.named_modules() if getattr(m, "bias", None) is not None]
    convs = [n for n in with_bias if isinstance(network.get_submodule(n), nn.Conv2d)]
    assert convs == ["heads.0"]


def test_checkpointed_activations_give_the_same_gradients():
    config = tiny(blocks=(1, 4, 5), shortcut="preact")
    kept, again = trained(config).train(), trained(replace(config, checkpointed=True)).train()
    again.load_state_dict(kept.state_dict())
    for network in (kept, again):
        (network(image_for(config)) ** 2).mean().backward()
    for one, other in zip(kept.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("shortcut", sorted(SHORTCUTS))
def test_bfloat16_and_channels_last_work_with_every_shortcut(shortcut, spatial_dims):
    config = tiny(
        shortcut=shortcut,
        spatial_dims=spatial_dims,
        strides=((1,) * spatial_dims, (2,) * spatial_dims, (2,) * spatial_dims),
        kernel_sizes=((3,) * spatial_dims,) * 3,
        squeeze_excitation=True,
        attention_blocks=1,
    )
    layout = {2: torch.channels_last, 3: torch.channels_last_3d}[spatial_dims]
    network = trained(config).train().to(memory_format=layout)
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(image_for(config))
    logits.float().square().mean().backward()
    assert all(weight.grad.isfinite().all() for weight in network.parameters())
