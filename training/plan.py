"""What will be trained, decided from the data and the machine, in a file that people can edit.

The rules and where they come from: docs/planning.md.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from seg.errors import ConfigError
from seg.files import replace_file
from seg.model_package import Channel
from seg.networks import UNetConfig, preset
from seg.transforms import Normalisation, Preprocessing, resampled_shape
from training.fingerprint import ChannelStatistics, Fingerprint

ANISOTROPY = 3.0
"""Spacing ratio from which an axis counts as coarse (nnU-Net)."""
SMALLEST_FEATURE_MAP = 4
"""An axis is not halved below this many voxels (nnU-Net)."""


PATCH_TO_MARGIN, IMAGE_TO_MARGIN = 8, 24
"""A margin is this part of a patch, and no more than this part of an image: else small images would
mostly train on nothing. Without one a network can't tell an image's edge from a patch's, and labels
often follow rules of their own there: in hela, cells that touch the edge are left out."""
STEPS_FOR_STANDARD = 2000
"""Steps from which the stronger augmentation is planned. With 400 steps a network learns more from
patches that are mirrored only: measured, nucleus Dice 0.946 against 0.938 on scratch-assay."""


class Budget(BaseModel):
    """What one training step may hold, by the kind of machine."""

    model_config = ConfigDict(frozen=True)

    network: str
    stages: int
    voxels: dict[int, int]
    """Voxels of a patch, by number of dimensions."""
    batch_size: dict[int, int]


BUDGETS = {
    # In minutes on a CPU the number of steps decides, so a step is small.
    "cpu": Budget(
        network="resunet-s", stages=5, voxels={2: 192**2, 3: 56**3}, batch_size={2: 4, 3: 2}
    ),
    "cuda": Budget(
        network="resunet-m", stages=8, voxels={2: 512**2, 3: 128**3}, batch_size={2: 12, 3: 2}
    ),
}


class Plan(BaseModel):
    """Everything that ``fit`` decided before it trains; ``plan.yaml``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: Annotated[str, Field(description="name of the dataset")]
    data: Annotated[str, Field(description="folder of the dataset")]
    minutes: Annotated[float, Field(gt=0, description="from the start of fit to its last step")]
    steps: Annotated[
        int | None, Field(ge=1, description="a fixed number of steps in place of minutes")
    ] = None
    seed: Annotated[int, Field(description="of weights, patches and augmentation")] = 0
    spacing: Annotated[
        tuple[float, ...] | None,
        Field(description="mm a voxel after resampling, one number an axis; null keeps the pixels"),
    ]
    normalisation: Annotated[tuple[Normalisation, ...], Field(description="one rule a channel")]
    margin: Annotated[
        tuple[int, ...], Field(description="voxels of 0 around every image, one number an axis")
    ]
    network: Annotated[str, Field(description="preset of seg.networks")]
    shortcut: Annotated[
        str | None, Field(description="what leads around a block; null keeps the preset's")
    ] = None
    strides: Annotated[
        tuple[tuple[int, ...], ...], Field(description="one entry a stage, one number an axis")
    ]
    kernel_sizes: Annotated[
        tuple[tuple[int, ...], ...], Field(description="one entry a stage, one number an axis")
    ]
    deep_supervision: Annotated[bool, Field(description="a loss at every resolution")] = True
    patch: Annotated[tuple[int, ...], Field(description="voxels, one number an axis")]
    batch_size: Annotated[int, Field(ge=1, description="patches a step")]
    foreground_share: Annotated[
        float, Field(ge=0, le=1, description="share of patches that must show a class")
    ] = 1 / 3
    augmentation: Annotated[
        Literal["none", "light", "standard"], Field(description="preset of training.augment")
    ] = "standard"
    learning_rate: Annotated[float, Field(gt=0, description="of AdamW, at its highest")] = 3e-3
    weight_decay: Annotated[float, Field(ge=0, description="of AdamW")] = 1e-2
    warmup_share: Annotated[
        float, Field(ge=0, lt=1, description="share of the training in which the rate rises")
    ] = 0.03
    ema_decay: Annotated[
        float, Field(ge=0, lt=1, description="of the moving average of weights that is exported")
    ] = 0.98
    precision: Annotated[
        Literal["float32", "bfloat16"], Field(description="of the network while it trains")
    ] = "float32"
    checkpoint_seconds: Annotated[
        float, Field(ge=0, description="between checkpoints, the most that a crash can cost")
    ] = 20.0
    overlap: Annotated[
        float, Field(ge=0, lt=1, description="of windows when whole images are segmented")
    ] = 0.5

    @property
    def dims(self) -> int:
        """2 or 3."""
        return len(self.patch)

    @property
    def preprocessing(self) -> Preprocessing:
        """What happens to every image, in training as in service."""
        return Preprocessing(
            spacing=self.spacing, normalisation=self.normalisation, margin=self.margin
        )

    def network_config(self, num_classes: int) -> UNetConfig:
        """The network's shape.

        Raises:
            ConfigError: the numbers do not go together.
        """
        config = preset(
            self.network,
            spatial_dims=self.dims,
            in_channels=len(self.normalisation),
            num_classes=num_classes,
            strides=self.strides,
            kernel_sizes=self.kernel_sizes,
        )
        config = replace(config, deep_supervision=self.deep_supervision)
        return replace(config, shortcut=self.shortcut) if self.shortcut else config


def make_plan(
    fingerprint: Fingerprint,
    channels: Sequence[Channel],
    device: Literal["cpu", "cuda"],
    **chosen: Any,
) -> Plan:
    """The plan that the rules give; ``chosen`` fields take the place of planned ones.

    Raises:
        ConfigError: a chosen value cannot work.
    """
    budget = BUDGETS[device]
    spacing = _target_spacing(fingerprint)
    shape = resampled_shape(fingerprint.median_shape, fingerprint.median_spacing, spacing)
    edges = chosen.get("patch") or _patch(shape, spacing, budget.voxels[fingerprint.dims])
    strides, kernel_sizes = _topology(edges, spacing, budget.stages)
    total = [math.prod(axis) for axis in zip(*strides, strict=True)]
    patch = tuple(math.ceil(n / t) * t for n, t in zip(edges, total, strict=True))
    planned = {
        "spacing": spacing,
        "normalisation": [
            _normalisation(channel, statistics)
            for channel, statistics in zip(channels, fingerprint.channels, strict=True)
        ],
        "network": budget.network,
        "strides": strides,
        "kernel_sizes": kernel_sizes,
        "patch": patch,
        "margin": tuple(
            min(round(p / PATCH_TO_MARGIN), n // IMAGE_TO_MARGIN)
            for p, n in zip(patch, shape, strict=True)
        ),
        "batch_size": budget.batch_size[fingerprint.dims],
    }
    return _validated(planned | {k: v for k, v in chosen.items() if k != "patch"}, "the plan")


def write_plan(plan: Plan, path: Path) -> None:
    """Write ``plan.yaml`` with a comment at every field."""
    lines = [
        "# Written by training.fit; edit it and run: python -m training.fit --plan plan.yaml",
        "",
    ]
    for name, value in plan.model_dump(mode="json").items():
        nested = isinstance(value, list) and bool(value) and isinstance(value[0], list | dict)
        comment = f"  # {Plan.model_fields[name].description}"
        if nested:
            lines += [f"{name}:{comment}", *(f"  - {_inline(entry)}" for entry in value)]
        else:
            lines.append(f"{name}: {_inline(value)}{comment}")
    replace_file(path, ("\n".join(lines) + "\n").encode())


def _inline(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6)
    return text.removesuffix("\n").removesuffix("\n...")


def read_plan(path: Path) -> Plan:
    """Read a plan back.

    Raises:
        ConfigError: the file is missing, or a field is unknown or cannot be.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} must hold one field a line, like plan.yaml of a finished run")
    return _validated(raw, str(path))


def planned_augmentation(steps: float) -> Literal["light", "standard"]:
    """The preset for a training of so many steps."""
    return "standard" if steps >= STEPS_FOR_STANDARD else "light"


def changed_plan(plan: Plan, fields: dict[str, Any]) -> Plan:
    """The plan with other values in some fields.

    Raises:
        ConfigError: a value cannot be.
    """
    return _validated(plan.model_dump() | fields, "the plan")


def _validated(fields: dict[str, Any], where: str) -> Plan:
    try:
        return Plan.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{where} cannot be used: {name}: {first['msg']}") from error


def _target_spacing(fingerprint: Fingerprint) -> tuple[float, ...] | None:
    """The median; a coarse axis takes its 10th percentile, so that thin slices are not lost."""
    median = fingerprint.median_spacing
    if median is None or fingerprint.spacings is None:
        return None
    worst = max(range(len(median)), key=lambda axis: median[axis])
    others = max((mm for axis, mm in enumerate(median) if axis != worst), default=median[worst])
    if median[worst] <= ANISOTROPY * others:
        return median
    along = sorted(spacing[worst] for spacing in fingerprint.spacings)
    finer = max(along[len(along) // 10], others)
    return tuple(finer if axis == worst else mm for axis, mm in enumerate(median))


def _normalisation(channel: Channel, statistics: ChannelStatistics) -> Normalisation:
    if channel.modality.upper() == "CT":
        return Normalisation(
            kind="clip_zscore",
            low=statistics.percentile_00_5,
            high=statistics.percentile_99_5,
            mean=statistics.mean,
            std=statistics.std,
        )
    return Normalisation(kind="zscore")


def _patch(
    shape: tuple[int, ...], spacing: tuple[float, ...] | None, voxels: int
) -> tuple[int, ...]:
    """As cubic in mm as the image and the number of voxels allow."""
    relative = spacing or (1.0,) * len(shape)

    def edges(mm: float) -> tuple[int, ...]:
        return tuple(min(n, max(1, round(mm / s))) for n, s in zip(shape, relative, strict=True))

    low, high = 0.0, max(n * s for n, s in zip(shape, relative, strict=True))
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if math.prod(edges(middle)) <= voxels else (low, middle)
    return edges(high) if math.prod(edges(high)) <= voxels else edges(low)


def _topology(
    patch: Sequence[int], spacing: tuple[float, ...] | None, most_stages: int
) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Strides and kernel sizes: fine axes are halved first, until the voxels are near cubic."""
    size, mm = list(patch), list(spacing or (1.0,) * len(patch))
    strides, kernels = [(1,) * len(size)], [_kernel(mm)]
    while len(strides) < most_stages:
        stride = tuple(
            2 if n >= 2 * SMALLEST_FEATURE_MAP and s < 2 * min(mm) else 1
            for n, s in zip(size, mm, strict=True)
        )
        if max(stride) == 1:
            break
        size = [math.ceil(n / step) for n, step in zip(size, stride, strict=True)]
        mm = [s * step for s, step in zip(mm, stride, strict=True)]
        strides.append(stride)
        kernels.append(_kernel(mm))
    if len(strides) == 1:
        raise ConfigError(
            f"images of {tuple(patch)} voxels are too small for a U-Net; "
            f"they need {2 * SMALLEST_FEATURE_MAP} along one axis at least"
        )
    return strides, kernels


def _kernel(mm: Sequence[float]) -> tuple[int, ...]:
    return tuple(3 if s < 2 * min(mm) else 1 for s in mm)
