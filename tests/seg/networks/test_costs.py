from dataclasses import replace
from xml.etree import ElementTree

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from seg.errors import ConfigError
from seg.networks import PRESETS, SHORTCUTS, ResidualUNet, UNetConfig, preset
from seg.networks.__main__ import main
from seg.networks.costs import costs
from seg.networks.drawing import draw
from seg.networks.receptive_field import receptive_field


def tiny(**changes):
    config = UNetConfig(
        spatial_dims=2,
        in_channels=1,
        num_classes=2,
        features=(4, 4),
        blocks=(1, 1),
        strides=((1, 1), (2, 2)),
        kernel_sizes=((3, 3),) * 2,
        shortcut="none",
        activation="relu",
    )
    return replace(config, **changes)


def test_flops_and_parameters_equal_the_hand_count():
    cost = costs(tiny(), (8, 8))
    full, half = 8 * 8, 4 * 4
    stem, block, coarse = 4 * 9, 2 * 4 * 4 * 9, 2 * 4 * 4 * 9
    up, fuse, head = 4 * 4 * 4, 8 * 4 * 9, 4 * 2
    multiplications = (stem + block + fuse + head) * full + (coarse + up) * half
    assert cost.flops == 2 * multiplications
    norms = 6 * 2 * 4
    assert cost.parameters == stem + block + coarse + up + fuse + head + norms + 4 + 2


def test_twice_the_patch_keeps_twice_the_activations():
    once, twice = costs(tiny(), (32, 32)), costs(tiny(), (64, 32))
    assert twice.activation_bytes == pytest.approx(2 * once.activation_bytes, rel=0.01)
    checkpointed = costs(tiny(blocks=(1, 9), checkpointed=True), (32, 32))
    assert checkpointed.activation_bytes < costs(tiny(blocks=(1, 9)), (32, 32)).activation_bytes


@settings(max_examples=10, deadline=None)
@given(
    blocks=st.tuples(st.integers(0, 1), st.integers(1, 2), st.integers(1, 2)),
    first_stride=st.sampled_from([1, 2]),
    kernel=st.sampled_from([1, 3, 5]),
    stem=st.sampled_from(["conv", "resnet"]),
    block=st.sampled_from(["basic", "bottleneck"]),
    decoder=st.sampled_from(["light", "residual"]),
)
def test_the_receptive_field_is_where_the_gradient_is_not_zero(first_stride, kernel, **changes):
    config = tiny(
        features=(4, 4, 4),
        strides=((first_stride,) * 2, (2, 2), (2, 2)),
        kernel_sizes=((3, 3), (kernel, 3), (3, 3)),
        shortcut="identity",
        projection="pooled",
        **changes,
    )
    assert receptive_field(config) == seen_by_gradient(config)


def seen_by_gradient(config):
    """Widest extent of the input that moves an output voxel, over all places of the voxel."""
    network = ResidualUNet(config).eval().double()
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.InstanceNorm2d | nn.MaxPool2d):
            linear = (
                nn.Identity()
                if isinstance(module, nn.InstanceNorm2d)
                else nn.AvgPool2d(module.kernel_size, module.stride, module.padding)
            )
            network.set_submodule(name, linear)
    with torch.no_grad():
        for weight in network.parameters():
            weight.fill_(0.1)
    size = 256
    image = torch.ones(1, 1, size, size, dtype=torch.double, requires_grad=True)
    centre = size // 2
    extents = []
    for place in range(centre, centre + config.total_stride[0]):
        (gradient,) = torch.autograd.grad(network(image)[0, 0, place, place], image)
        reached = (gradient[0, 0] != 0).nonzero()
        extents.append(reached.max(0).values - reached.min(0).values + 1)
    return tuple(torch.stack(extents).max(0).values.tolist())


def test_attention_sees_everything():
    assert receptive_field(tiny(attention_blocks=1)) is None


@pytest.mark.parametrize("shortcut", sorted(SHORTCUTS))
def test_a_drawing_shows_every_block_and_its_shortcut(shortcut):
    config = tiny(features=(6, 6), blocks=(2, 3), shortcut=shortcut, in_channels=3)
    svg = draw(config, "<net & more>")
    tags = [element.tag.rpartition("}")[2] for element in ElementTree.fromstring(svg).iter()]
    legend, background, level, marker = 3, 1, 1, 1
    assert tags.count("rect") == 5 + legend + background + level
    assert tags.count("path") == (0 if shortcut == "none" else 5) + marker
    assert "&lt;net &amp; more&gt;" in svg


def test_of_many_blocks_the_first_and_the_last_are_drawn():
    svg = draw(tiny(blocks=(1, 100)), "deep")
    assert "…" in svg
    assert "100 blocks" in svg


def test_the_command_prints_one_row_a_network(capsys):
    assert main(["resunet-s", "resnet18", "--patch", "64", "64", "--no-time"]) == 0
    head, small, resnet = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["network", "patch", "parameters"]
    assert small.split()[:3] == ["resunet-s", "64x64", "5.00"]
    assert resnet.split()[0] == "resnet18"


def test_the_command_times_and_draws(tmp_path, capsys):
    assert main(["resunet-s", "--patch", "32", "32"]) == 0
    assert float(capsys.readouterr().out.split()[-1]) > 0
    file = tmp_path / "net.svg"
    assert main(["resunet-m", "--draw", str(file)]) == 0
    assert ElementTree.parse(file).getroot().tag.endswith("svg")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("monai:segresnet", "12 blocks can be left out: model.down_layers.0.1, "),
        ("monai:dynunet", "no block can be left out"),
    ],
)
def test_of_one_network_the_command_tells_which_blocks_can_go(name, words, capsys):
    assert main([name, "--patch", "32", "32", "--no-time"]) == 0
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["resunet"], "no network is called 'resunet'"),
        (["resunet-s", "--patch", "64"], "a patch has 2 numbers"),
        (["resunet-s", "--patch", "60", "60"], "multiples of"),
        (["monai:segresnet", "--classes", "0"], "a class at least, got 1 and 0"),
        (["monai:segresnet", "--shortcut", "gated"], "--shortcut changes seg's own blocks"),
        (["--draw", "net.svg"], "--draw draws one network, got 0 names"),
    ],
)
def test_the_command_says_what_cannot_work(arguments, words, capsys):
    assert main([*arguments, "--no-time"]) == 2
    assert words in capsys.readouterr().err


def test_presets_of_one_layout_differ_in_patch_and_memory_alone():
    def of(name):
        return preset(name, spatial_dims=3, in_channels=1, num_classes=2)

    assert of("resunet-m") == of("resunet-l") == of("resunet-xl")
    memory = [PRESETS[name].gpu_memory_gb for name in ("resunet-m", "resunet-l", "resunet-xl")]
    assert memory == [8, 24, 40]


def test_a_patch_of_no_voxels_is_refused():
    with pytest.raises(ConfigError, match=r"a patch has 2 numbers of 1 or more, got \(0, 8\)"):
        costs(tiny(), (0, 8))


@pytest.mark.parametrize("number", ["1000000000", "-1", "nan"])
def test_more_classes_than_masks_hold_are_refused_before_a_network_is_made(number, capsys):
    with pytest.raises(SystemExit):
        main(["resunet-xs", f"--classes={number}"])
    assert "a whole number up to 255" in capsys.readouterr().err
