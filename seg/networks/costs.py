"""What a network costs: parameters, operations, memory, time, and how far it sees."""

import time
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from seg.errors import ConfigError
from seg.networks.config import RESIDUAL, UNetConfig
from seg.networks.foreign.config import ForeignConfig
from seg.networks.layers import Axes, parameter_count
from seg.networks.network import SegmentationNetwork
from seg.networks.receptive_field import receptive_field
from seg.networks.unet import ResidualUNet, make_network


@dataclass(frozen=True, kw_only=True, slots=True)
class Costs:
    """Of one patch in float32."""

    parameters: int
    flops: int
    """Of one forward pass; a multiplication and an addition count as two."""
    activation_bytes: int
    """Kept for the gradient in training."""
    receptive_field: Axes | None
    """Voxels along each axis that the convolutions let one output voxel see; None: all."""


def costs(config: UNetConfig | ForeignConfig, patch: Axes) -> Costs:
    """The costs of a network, counted without running it.

    Raises:
        ConfigError: the patch does not fit the network.
    """
    if len(patch) != config.spatial_dims or min(patch) < 1:
        raise ConfigError(f"a patch has {config.spatial_dims} numbers of 1 or more, got {patch}")
    network = without_memory(config)
    image = torch.zeros(1, config.in_channels, *patch, device="meta")
    return Costs(
        parameters=parameter_count(network),
        flops=flops_of(network, patch),
        activation_bytes=_activation_bytes(network, image),
        receptive_field=receptive_field(config) if isinstance(config, UNetConfig) else None,
    )


def flops_of(network: SegmentationNetwork, patch: Axes) -> int:
    """Of one patch, counted without running it; a multiplication and an addition are two."""
    shapes = deepcopy(network).to("meta").eval()
    image = torch.zeros(1, network.config.in_channels, *patch, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        shapes(image)
    return int(counter.get_total_flops())


def milliseconds(config: UNetConfig | ForeignConfig, patch: Axes, repeats: int = 3) -> float:
    """Fastest of a few forward passes of one patch on this machine's CPU."""
    network = make_network(config).eval()
    image = torch.zeros(1, config.in_channels, *patch)
    times = []
    with torch.inference_mode():
        for _ in range(repeats + 1):
            start = time.perf_counter()
            network(image)
            times.append(time.perf_counter() - start)
    return 1000 * min(times[1:])


def without_memory(config: UNetConfig | ForeignConfig) -> SegmentationNetwork:
    """The network with the shapes of its weights alone."""
    if isinstance(config, ForeignConfig) or config.encoder != RESIDUAL:
        # Some foreign encoders read numbers from tensors while they are built.
        return make_network(config).to("meta")
    with torch.device("meta"):
        return ResidualUNet(config)


def _activation_bytes(network: SegmentationNetwork, image: Tensor) -> int:
    weights = {weight.untyped_storage()._cdata for weight in network.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        # Tensors that share memory, as the steps of an in-place activation do, count once.
        storage = tensor.untyped_storage()._cdata
        if storage not in weights:
            kept[storage] = tensor
        return tensor

    network.train()
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        network(image)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
