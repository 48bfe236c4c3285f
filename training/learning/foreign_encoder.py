"""How an encoder of another library is trained: from its weights, slower, statistics frozen."""

from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from seg.errors import ConfigError
from seg.networks import SegmentationNetwork
from seg.networks.foreign.encoders import fill
from seg.networks.foreign.names import encoder_of
from seg.networks.foreign.weights_file import hash_of
from training.run.plan import Plan

ENCODER = "is_encoder"
"""Key of an optimiser's group."""


def begin_with_weights(network: SegmentationNetwork, plan: Plan) -> None:
    """Put the plan's weights into the encoder.

    Raises:
        ConfigError: they are out of reach, of another encoder, or other ones than planned.
    """
    encoder, name = network.encoder_module, encoder_of(plan.network)
    if encoder is not None and name is not None and plan.weights is not None:
        if plan.weights_sha256 not in (None, hash_of(plan.weights)):
            raise ConfigError(
                f"{plan.weights} holds other weights than when the training was planned; put the "
                "former file there, or plan anew"
            )
        fill(encoder, name, len(plan.normalisation), plan.weights)


def weight_groups(network: SegmentationNetwork, plan: Plan) -> list[dict[str, Any]]:
    """An optimiser's groups: biases, norms and gates do not decay, an encoder has its own rate."""
    encoder = network.encoder_module
    inside = {id(p) for p in encoder.parameters()} if encoder is not None else set()
    groups = []
    for is_encoder in (False, True):
        own = [p for p in network.parameters() if (id(p) in inside) == is_encoder]
        if own:
            groups += [
                {"params": [p for p in own if p.ndim > 1], "weight_decay": plan.weight_decay},
                {"params": [p for p in own if p.ndim <= 1], "weight_decay": 0.0},
            ]
            for group in groups[-2:]:
                group[ENCODER] = is_encoder
    return groups


def rate_of(group: dict[str, Any], plan: Plan, progress: float) -> float:
    """Of the learning rate, what a group has at this point of the training."""
    if not group.get(ENCODER):
        return 1.0
    return plan.encoder_rate if progress >= plan.frozen_share else 0.0


def freeze_statistics(network: SegmentationNetwork) -> None:
    """Let the encoder's batch norms normalise by what they learnt elsewhere.

    A batch of four patches has statistics of its own, which few images would put in their place.
    """
    for norm in _batch_norms(network.encoder_module):
        norm.eval()


def _batch_norms(module: nn.Module | None) -> Iterator[nn.Module]:
    for each in module.modules() if module is not None else ():
        if isinstance(each, _BatchNorm):
            yield each
