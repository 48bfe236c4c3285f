"""Residual blocks of other libraries can be left out like our own."""

import pytest
import torch
from torch import nn

from seg.errors import ConfigError
from seg.networks import make_network, network_config


def network_of(name, dims=2):
    torch.manual_seed(0)
    config = network_config(name, spatial_dims=dims, in_channels=1, num_classes=2)
    return make_network(config).eval()


@pytest.mark.parametrize(
    ("name", "dims", "count"),
    [
        ("smp:resnet18", 2, 5),
        ("tu-resnet18", 2, 5),
        ("smp:unet/tu-tf_efficientnet_lite0", 2, 9),
        ("tu-convnext_atto", 2, 12),
        ("monai:segresnet", 3, 12),
    ],
)
def test_a_block_whose_branch_adds_nothing_is_what_is_left_of_it(name, dims, count):
    network = network_of(name, dims)
    blocks = network.droppable_blocks()
    assert len(blocks) == count
    edges = tuple(2 * stride for stride in network.config.total_stride)
    image = torch.randn(2, 1, *edges)
    with torch.inference_mode():
        for weight in network.parameters():  # some begin with branches that add nothing
            if weight.ndim == 1:
                weight.uniform_(0.5, 1.5)
        before = network(image)
        for block in blocks:
            for weight in network.get_submodule(block).parameters():
                weight.zero_()
        silenced = network(image)
        torch.testing.assert_close(network.without(blocks)(image), silenced)
        with network.skipping(blocks):
            torch.testing.assert_close(network(image), silenced)
    assert not torch.allclose(silenced, before)


def test_what_is_left_of_a_network_trains_and_its_weights_keep_their_names():
    network = network_of("smp:resnet18").train()
    blocks = network.droppable_blocks()
    with network.skipping(blocks):
        network(torch.randn(2, 1, 64, 64)).sum().backward()
    trained = {name for name, weight in network.named_parameters() if weight.grad is not None}
    idle = {name for name, _ in network.named_parameters()} - trained
    assert idle
    assert all(name.startswith(tuple(f"{block}." for block in blocks)) for name in idle)
    assert set(network.without(blocks).state_dict()) < set(network.state_dict())


def test_a_strided_block_of_another_library_is_none_that_can_be_dropped():
    network = network_of("smp:resnet18")
    with pytest.raises(ConfigError, match=r"no droppable block is called 'model.encoder.layer2.0'"):
        network.without(["model.encoder.layer2.0"])


def test_what_is_left_does_not_change_the_features_that_the_decoder_reads():
    left = network_of("smp:resnet18").without(["model.encoder.layer1.1"])
    activation = left.model.encoder.layer1[1]
    assert isinstance(activation, nn.ReLU)
    assert not activation.inplace
