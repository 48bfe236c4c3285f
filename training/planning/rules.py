"""The rules that make a plan from the data and the machine; their sources: docs/planning.md."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from seg.errors import ConfigError
from seg.model_package import Channel
from seg.transforms import resampled_shape
from training.dataset.findings.emptiness import known_empty
from training.dataset.fingerprint import Fingerprint
from training.planning.normalisation import planned_normalisation
from training.run.names import AugmentationPreset
from training.run.plan import Plan, validated

MICROSCOPY = ("microscopy", "fluorescence", "brightfield", "histology", "photo")
"""Modalities of 2D images that are augmented as such."""
UNKNOWN = {"unknown"}
EMPTY_SHARE = 0.1
"""Of the patches, whose objects are painted out: else a network finds some in empty wells."""
BACKGROUND_TO_PAINT_WITH = 0.5
"""Share of the voxels without a class from which on there is enough."""
ANISOTROPY = 3.0
"""Spacing ratio from which an axis counts as coarse (nnU-Net)."""
SMALLEST_FEATURE_MAP = 4
"""An axis is not halved below this many voxels (nnU-Net)."""


PATCH_TO_MARGIN, IMAGE_TO_MARGIN = 8, 24
"""A margin is this part of a patch, and no more than this part of an image: else small images would
mostly train on nothing. Without one a network can't tell an image's edge from a patch's, and labels
often follow rules of their own there: in hela, cells that touch the edge are left out."""
STEPS_FOR_MORE_AUGMENTATION = 2000
"""Steps from which all that is known of a modality is planned. With 400 steps a network learns more
from patches that are mirrored only, nucleus Dice 0.946 against 0.938 on scratch-assay, but nothing
of other days: on the nuclei of another laboratory 0.827 against 0.869. Where objects may stand
anywhere ``robust`` is planned, which turns few patches."""


class SearchSpace(BaseModel):
    """What may be planned on a kind of machine, smallest first, and what is without a search."""

    model_config = ConfigDict(frozen=True)

    stages: int
    """At most."""
    networks: tuple[str, ...]
    voxels: Mapping[int, tuple[int, ...]]
    """Of a patch, by number of dimensions."""
    batch_sizes: Mapping[int, tuple[int, ...]]
    network: str
    usual_voxels: Mapping[int, int]
    batch_size: Mapping[int, int]


SEARCHES = {
    # In minutes on a CPU the number of steps decides, so a step is small.
    "cpu": SearchSpace(
        stages=5,
        networks=("resunet-xs", "resunet-s", "resunet-m"),
        voxels={
            2: (128**2, 192**2, 256**2),
            3: (32**3, 40**3, 48**3, 56**3, 80**3),
        },
        batch_sizes={2: (4, 8), 3: (2, 4)},
        network="resunet-s",
        usual_voxels={2: 192**2, 3: 56**3},
        batch_size={2: 4, 3: 2},
    ),
    # nnU-Net's presets M, L and XL are one network; they differ in patch and batch.
    "cuda": SearchSpace(
        stages=8,
        networks=("resunet-s", "resunet-m"),
        voxels={
            2: (256**2, 384**2, 512**2, 832**2, 1024**2),
            3: (64**3, 96**3, 128**3, 160**3, 192**3, 224**3),
        },
        batch_sizes={2: (4, 8, 12, 16, 24), 3: (2, 4, 8)},
        network="resunet-m",
        usual_voxels={2: 512**2, 3: 128**3},
        batch_size={2: 12, 3: 2},
    ),
}


def make_plan(
    fingerprint: Fingerprint,
    channels: Sequence[Channel],
    device: Literal["cpu", "cuda"],
    *,
    voxels: int | None = None,
    **chosen: Any,
) -> Plan:
    """The plan that the rules give, without a look at the machine.

    Args:
        fingerprint: of the data.
        channels: of the data.
        device: to train on.
        voxels: of a patch, at most; what is usual on the device if not given.
        chosen: fields that take the place of planned ones.

    Raises:
        ConfigError: a chosen value cannot work.
    """
    search = SEARCHES[device]
    fingerprint = fingerprint.turned(chosen.get("orientation"))
    voxels = voxels or search.usual_voxels[fingerprint.dims]
    spacing = _target_spacing(fingerprint)
    shape = resampled_shape(fingerprint.median_shape, fingerprint.median_spacing, spacing)
    _check_axes(chosen, fingerprint.dims)
    edges = chosen.get("patch") or _patch(shape, spacing, voxels)
    strides, kernel_sizes = _topology(edges, spacing, search.stages)
    total = [math.prod(axis) for axis in zip(*(chosen.get("strides") or strides), strict=True)]
    patch = tuple(math.ceil(n / t) * t for n, t in zip(edges, total, strict=True))
    planned = {
        "spacing": spacing,
        "normalisation": [
            planned_normalisation(channel, statistics)
            for channel, statistics in zip(channels, fingerprint.channels, strict=True)
        ],
        "network": search.network,
        "strides": strides,
        "kernel_sizes": kernel_sizes,
        "patch": patch,
        "margin": tuple(
            min(round(p / PATCH_TO_MARGIN), n // IMAGE_TO_MARGIN)
            for p, n in zip(patch, shape, strict=True)
        ),
        "orientation": fingerprint.orientation,
        "batch_size": search.batch_size[fingerprint.dims],
        "empty": known_empty(channels, fingerprint.ends),
        "empty_share": _empty_share(fingerprint, channels),
    }
    return validated(planned | {k: v for k, v in chosen.items() if k != "patch"}, "the plan")


def _check_axes(chosen: Mapping[str, Any], dims: int) -> None:
    """Pass where what has a number for each axis has as many as the images.

    Raises:
        ConfigError: it has not.
    """
    for name in ("patch", "spacing", "margin"):
        numbers = chosen.get(name)
        if numbers is not None and len(numbers) != dims:
            raise ConfigError(
                f"{name} needs {dims} numbers, one for each axis of the images "
                f"({', '.join('zyx'[-dims:])}), got {' '.join(map(str, numbers))}"
            )


def _empty_share(fingerprint: Fingerprint, channels: Sequence[Channel]) -> float:
    """Organs are where they are: without one a scan is no scan. Cells may be there or not."""
    has_background = fingerprint.class_shares[0] >= BACKGROUND_TO_PAINT_WITH
    return EMPTY_SHARE if shows_cells(channels, fingerprint.dims) and has_background else 0.0


def shows_cells(channels: Sequence[Channel], dims: int) -> bool:
    """Or what else may stand anywhere; 2D images of no stated modality are taken for such."""
    modalities = {channel.modality.lower() for channel in channels}
    return modalities <= set(MICROSCOPY) or (dims == 2 and modalities == UNKNOWN)


def planned_augmentation(
    steps: float, channels: Sequence[Channel], dims: int
) -> AugmentationPreset:
    """The preset for a training of so many steps on such images."""
    microscopy = all(channel.modality.lower() in MICROSCOPY for channel in channels)
    if steps < STEPS_FOR_MORE_AUGMENTATION:
        return "robust" if shows_cells(channels, dims) else "light"
    return "microscopy" if dims == 2 and microscopy else "medical"


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
        kernels.append(tuple(map(max, kernels[-1], _kernel(mm))))  # 3 once is 3 for good
    if len(strides) == 1:
        raise ConfigError(
            f"images of {tuple(patch)} voxels are too small for a U-Net; "
            f"they need {2 * SMALLEST_FEATURE_MAP} along one axis at least"
        )
    return strides, kernels


def _kernel(mm: Sequence[float]) -> tuple[int, ...]:
    return tuple(3 if s < 2 * min(mm) else 1 for s in mm)
