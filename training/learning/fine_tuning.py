"""Begin a training with the weights of a model package, also for other classes or channels.

Classes are known by their names, or where nobody named them by their values in the masks, channels
by their names. What the package does not know begins so that it
changes nothing: a new channel with weights of 0, a new class unlikely everywhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seg.errors import ConfigError
from seg.images import ClassInfo
from seg.model_package import Channel, ModelCard, ModelPackage, Task
from seg.networks import PRESETS, SegmentationNetwork, UNetConfig, preset
from training.dataset import Dataset
from training.dataset.matched_classes import matched
from training.onnx_files.read_back import own_network_in
from training.run.plan import Plan
from training.samples.object_targets import learns_borders, learns_depths

GENTLE_LEARNING_RATE = 1e-3
"""A third of the usual one, so that what was learnt elsewhere is not lost in the first steps."""
UNLIKELY = -4.0
"""Logit of a new class at first."""
_HEAD = "heads."


def start_fields(start: str, dataset: Dataset) -> dict[str, Any]:
    """What a plan takes over from the package that its training begins with.

    Raises:
        PackageError: it is no package.
        ConfigError: the package is of other dimensions, or its network cannot go on.
    """
    package = ModelPackage.load(Path(start))
    spec = package.card.input
    if spec.dims != dataset.dims:
        raise ConfigError(
            f"{start} segments {spec.dims}D images, those of {dataset.name} have {dataset.dims} "
            "dimensions; begin with another package"
        )
    config = own_network_in(package).config
    return {
        "network": _preset_of(config, start),
        "shortcut": config.shortcut,
        "strides": config.strides,
        "kernel_sizes": config.kernel_sizes,
        "patch": spec.patch,
        "spacing": spec.preprocessing.spacing,
        "margin": spec.preprocessing.margin or (0,) * spec.dims,
        "learning_rate": GENTLE_LEARNING_RATE,
        **({} if spec.orientation is None else {"orientation": spec.orientation}),
    }


def with_normalisation_of(plan: Plan, channels: Sequence[Channel]) -> Plan:
    """The plan with the package's normalisation for the channels that it knows."""
    assert plan.start is not None
    spec = ModelPackage.load(Path(plan.start)).card.input
    known = spec.preprocessing.normalisation
    rules = tuple(
        planned if old is None else known[old]
        for planned, old in zip(
            plan.normalisation, _matched_channels(spec.channels, channels), strict=True
        )
    )
    return plan.model_copy(update={"normalisation": rules})


def begin_with(network: SegmentationNetwork, start: str, dataset: Dataset, plan: Plan) -> None:
    """Put the package's weights into the network; deep supervision's other heads stay new.

    Raises:
        PackageError: it is no package.
        ConfigError: the network is built otherwise.
    """
    package = ModelPackage.load(Path(start))
    card, known = package.card, own_network_in(package).state_dict()
    old_channels = _matched_channels(card.input.channels, dataset.channels)
    rows = _matched_rows(card, dataset.classes, dataset.legend.task)
    rows += _matched_object_rows(card, dataset.classes, plan)
    weights = network.state_dict()
    first = next(name for name, tensor in weights.items() if tensor.ndim > 1)
    for name, fresh in weights.items():
        if name.startswith(_HEAD):
            if name in known:
                weights[name] = _head(known[name], rows, fresh)
        elif name in known and name == first and _is_first(known[name], fresh, card, dataset):
            weights[name] = _with_channels(known[name], old_channels, fresh)
        elif name in known and known[name].shape == fresh.shape:
            weights[name] = known[name]
        else:
            raise ConfigError(
                f"the network of {start} is built otherwise ({name}); leave --network, --shortcut "
                "and the strides to the package"
            )
    network.load_state_dict(weights)


def _preset_of(config: UNetConfig, start: str) -> str:
    plain = replace(config, shortcut="identity", stochastic_depth=0.0)
    for name in PRESETS:
        like = preset(
            name,
            spatial_dims=config.spatial_dims,
            in_channels=config.in_channels,
            num_classes=config.num_classes,
            strides=config.strides,
            kernel_sizes=config.kernel_sizes,
        )
        if replace(like, shortcut="identity", stochastic_depth=0.0) == plain:
            return name
    raise ConfigError(
        f"the network of {start} is none of the presets, so a training cannot go on with it"
    )


def _matched_channels(old: Sequence[Channel], new: Sequence[Channel]) -> list[int | None]:
    """For each new channel the old one of its name; where no name is known, that of its place."""
    places: Mapping[str, int] = {channel.name: at for at, channel in enumerate(old)}
    if any(channel.name in places for channel in new):
        return [places.get(channel.name) for channel in new]
    return [at if at < len(old) else None for at in range(len(new))]


def _matched_rows(card: ModelCard, classes: Sequence[ClassInfo], task: Task) -> list[int | None]:
    """For each channel of logits that of the package; the background is the first of both."""
    old = card.classes[1:] if card.task == "regions" else card.classes
    return matched(classes[1:] if task == "regions" else classes, old)


def _matched_object_rows(
    card: ModelCard, classes: Sequence[ClassInfo], plan: Plan
) -> list[int | None]:
    """The same for the channels that tell objects apart, which follow those of the classes."""
    learnt = {"border": learns_borders(plan), "distance": learns_depths(plan)}
    rows: list[int | None] = []
    for group in ("border", "distance"):
        old: Mapping[str, int] = {}
        if card.instances is not None and group in card.instances.channels_for:
            first = card.outputs + card.instances.first_channel(group)
            old = {name: first + at for at, name in enumerate(card.instances.rules)}
        if learnt[group]:
            rows += [old.get(info.name) for info in classes[1:]]
    return rows


def _head(known: Tensor, rows: Sequence[int | None], fresh: Tensor) -> Tensor:
    is_bias = fresh.ndim == 1
    unlikely = torch.full_like(fresh[0], UNLIKELY if is_bias else 0.0)
    return torch.stack([unlikely if row is None else known[row].reshape(fresh[0].shape)
                        for row in rows])  # fmt: skip


def _is_first(known: Tensor, fresh: Tensor, card: ModelCard, dataset: Dataset) -> bool:
    """Whether the layers differ in nothing but the channels of the image."""
    numbers = (known.shape[1], fresh.shape[1]) if known.ndim > 1 else (0, 0)
    same = known.shape[0] == fresh.shape[0] and known.shape[2:] == fresh.shape[2:]
    return same and numbers == (len(card.input.channels), len(dataset.channels))


def _with_channels(known: Tensor, old: Sequence[int | None], fresh: Tensor) -> Tensor:
    nothing = torch.zeros_like(fresh[:, 0])
    return torch.stack([nothing if at is None else known[:, at] for at in old], dim=1)
