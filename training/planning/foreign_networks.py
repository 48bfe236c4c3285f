"""What is planned for a network of another library: its strides, weights and their intensities."""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from seg.errors import ConfigError
from seg.model_package import Channel
from seg.networks import make_network, network_config
from seg.networks.foreign.encoders import Intensities, fill, intensities_of
from seg.networks.foreign.names import encoder_of, is_foreign, is_whole_network
from seg.networks.foreign.own_code import names_own_code
from seg.networks.foreign.weights_file import hash_of
from seg.networks.presets import plans_its_stages
from seg.transforms import Normalisation
from training.dataset import Dataset
from training.dataset.fingerprint import ChannelStatistics, Fingerprint
from training.planning.contest import AUTO, check_contest
from training.planning.options import DEFAULT_MINUTES
from training.planning.rehearsal import rehearse_export
from training.run.plan import Plan, check_blocks
from training.samples.object_targets import outputs_of

LARGEST_BYTE = 255.0
LEAST_CONTRAST = 1 / 3
"""Deviation of the images in the encoder's units. Photographs have about 1; dim pictures (a camera
of 16 bits that counts to 30) would be one grey to it."""
LONG_SHARE = 0.05
"""Of the minutes, from which on it is told what a look at the network took of them."""
GENTLE_ENCODER = 0.1
"""Of the learning rate: what was learnt on millions of pictures should last."""

log = logging.getLogger("training")


def check_network(chosen: Mapping[str, Any], dataset: Dataset) -> None:
    """Say what cannot work with these data before any planning.

    Raises:
        ConfigError: the network is not known, not for these dimensions, cannot be exported, or its
            weights are not at hand.
    """
    name, weights = chosen.get("network"), chosen.get("weights")
    if weights == AUTO:
        check_contest(chosen, dataset)
        return
    if name is None or not is_foreign(name):
        for field in ("weights", "encoder_rate", "frozen_share"):
            if chosen.get(field):
                raise ConfigError(
                    f"--{field.replace('_', '-')} is for a foreign encoder, such as --network "
                    "smp:unet/resnet34; seg's own presets start from random weights (--from takes "
                    "those of a package)"
                )
        return
    if is_whole_network(name):
        check_blocks(name, chosen)
    if names_own_code(name):
        log.warning("network   %s: its code is run; use only what you have read", name)
    begun = time.monotonic()
    log.info(
        "network   %s: written as ONNX once with random weights, to learn whether it can be a "
        "package",
        name,
    )
    channels = len(dataset.channels)
    config = network_config(
        name,
        spatial_dims=dataset.dims,
        in_channels=channels,
        num_classes=_outputs(chosen, dataset),
    )
    encoder = encoder_of(name)
    if chosen.get("sandwich_share") and not make_network(config).droppable_blocks(reshaping=True):
        raise ConfigError(
            f"--elastic trains without some blocks, and {name} has none that can be dropped; "
            "docs/encoders.md lists those that have"
        )
    if weights is not None:
        if encoder is None:
            raise ConfigError(
                f"{name} has no encoder whose weights are known by name; leave --weights out"
            )
        module = make_network(config).encoder_module
        assert module is not None  # it has a name
        fill(module, encoder, channels, weights)
    rehearse_export(name, config)
    _tell_cost(time.monotonic() - begun, chosen)


def _tell_cost(seconds: float, chosen: Mapping[str, Any]) -> None:
    """Say so where the look took a part of the training's minutes that is worth a word."""
    if chosen.get("steps"):
        return
    minutes = chosen.get("minutes", DEFAULT_MINUTES)
    if seconds > LONG_SHARE * 60 * minutes:
        log.warning(
            "network   that took %.1f of the %g minutes; give more, or a network that is written "
            "sooner",
            seconds / 60,
            minutes,
        )


def network_fields(plan: Plan | None) -> dict[str, Any]:
    """What a plan that was handed over says of another library's network, to be checked."""
    if plan is None or not is_foreign(plan.network):
        return {}
    return {
        name: getattr(plan, name) for name in ("network", "weights", "sandwich_share", "instances")
    }


def foreign_fields(
    chosen: Mapping[str, Any], dataset: Dataset, fingerprint: Fingerprint
) -> dict[str, Any]:
    """What a plan takes over from the network that was chosen; nothing for presets.

    Raises:
        ConfigError: the network is not known, or cannot be built for these data.
    """
    name, weights = chosen.get("network"), chosen.get("weights")
    if name is None or not is_foreign(name):
        return {}
    fields: dict[str, Any] = {"deep_supervision": False} if is_whole_network(name) else {}
    if not plans_its_stages(name):
        config = network_config(
            name,
            spatial_dims=dataset.dims,
            in_channels=len(dataset.channels),
            num_classes=_outputs(chosen, dataset),
        )
        fields["strides"] = config.strides
        fields["kernel_sizes"] = ((3,) * dataset.dims,) * len(config.strides)
        stride = "x".join(map(str, config.total_stride))
        log.info("network   %s: patches are multiples of %s", name, stride)
    encoder = encoder_of(name)
    if encoder is None or weights is None:
        return fields
    fields |= {"encoder_rate": GENTLE_ENCODER, "frozen_statistics": True}
    fields["weights_sha256"] = hash_of(weights)
    rules = normalisation_of(intensities_of(encoder, weights), dataset.channels, fingerprint)
    return fields | ({"normalisation": rules} if rules else {})


def _outputs(chosen: Mapping[str, Any], dataset: Dataset) -> int:
    """Channels that the network must make: a network of one's own may have no other number."""
    tells_apart = dataset.has_objects and dataset.legend.task == "exclusive"
    return outputs_of(dataset.legend, chosen.get("instances", "auto") if tells_apart else "none")


def normalisation_of(
    intensities: Intensities, channels: Sequence[Channel], fingerprint: Fingerprint
) -> tuple[Normalisation, ...] | None:
    """The encoder's own, for images of bytes; None for others, which have no white of 255.

    Those keep the planned one, which gives the mean of 0 and deviation of 1 that the encoder saw,
    as do bytes that show next to no contrast.
    """
    ranges = [statistics.range for statistics in fingerprint.channels]
    if not all(low >= 0 and 1 < high <= LARGEST_BYTE for low, high in ranges):
        return None
    least = LEAST_CONTRAST * LARGEST_BYTE * min(intensities.std)
    if any(_deviation(statistics) < least for statistics in fingerprint.channels):
        return None
    if len(channels) == len(intensities.mean):
        pairs = list(zip(intensities.mean, intensities.std, strict=True))
    else:  # no channel is red: each is grey
        grey = [sum(each) / len(each) for each in (intensities.mean, intensities.std)]
        pairs = [(grey[0], grey[1])] * len(channels)
    return tuple(
        Normalisation(
            kind="clip_zscore",
            low=0.0,
            high=LARGEST_BYTE,
            mean=mean * LARGEST_BYTE,
            std=std * LARGEST_BYTE,
        )
        for mean, std in pairs
    )


def _deviation(statistics: ChannelStatistics) -> float:
    """Root mean square over whole images; of the foreground where a plan knows no more."""
    squares = [image.deviation**2 for image in statistics.images]
    return math.sqrt(sum(squares) / len(squares)) if squares else statistics.std
