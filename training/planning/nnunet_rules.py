"""nnU-Net's own plan: patch, strides, batch and normalisation for the memory of a GPU.

Its residual presets M, L and XL share one network and differ in the memory that patch and batch
may fill. That memory is not measured: the numbers of all feature maps of a patch are added up and
compared with those of a patch that is known to fit.

Source: Isensee et al., nnU-Net Revisited, MICCAI 2024, and version 2.8 of its software.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seg.errors import ConfigError
from seg.model_package import Channel
from seg.networks import UNetConfig, preset
from training.dataset.fingerprint import Fingerprint

Axes = tuple[int, ...]
SMALLEST_FEATURE_MAP = 4
"""An axis is not halved below this many voxels."""
ANISOTROPY = 3.0
"""Spacing ratio from which an axis counts as coarse."""
NEAR = 2.0
"""Axes whose voxels differ by less are halved together."""
STARTING_VOXELS = {2: 2048**2, 3: 256**3}
"""Of the patch that is made smaller until it fits."""
SMALLEST_BATCH = 2
USUAL_BATCH = {2: 12, 3: 2}
"""Patches for which the targets hold."""


@dataclass(frozen=True, slots=True)
class Target:
    """Numbers in the feature maps of a patch, by number of dimensions."""

    gigabytes: int
    numbers: dict[int, float]


TARGETS = {
    "resunet-m": Target(8, {2: 135e6, 3: 680e6}),
    "resunet-l": Target(24, {2: 380e6, 3: 2.1e9}),
    "resunet-xl": Target(40, {2: 560e6, 3: 3.6e9}),
}


def nnunet_plan(
    fingerprint: Fingerprint, channels: Sequence[Channel], num_classes: int, network: str
) -> dict[str, Any]:
    """Fields of a ``Plan`` as nnU-Net would have them.

    Args:
        fingerprint: of the training cases.
        channels: of the images.
        num_classes: classes with background.
        network: one of ``TARGETS``.

    Raises:
        ConfigError: there is no target for the network.
    """
    if network not in TARGETS:
        raise ConfigError(f"nnU-Net has no plan for {network}; it has {', '.join(TARGETS)}")
    spacing = target_spacing(fingerprint)
    relative = spacing or (1.0,) * fingerprint.dims
    shape = _median_shape(fingerprint, spacing)
    # nnU-Net turns the coarsest axis to the front, which decides where axes are equal
    first = int(np.argmax(relative)) if fingerprint.dims == 3 else 0
    order = [first, *(axis for axis in range(fingerprint.dims) if axis != first)]
    turned = _Fitted.to_target(
        tuple(shape[axis] for axis in order),
        tuple(relative[axis] for axis in order),
        (network, len(channels), num_classes),
    )
    back = [order.index(axis) for axis in range(fingerprint.dims)]
    voxels = math.prod(shape) * fingerprint.cases
    return {
        "spacing": spacing,
        "network": network,
        "patch": _permuted(turned.patch, back),
        "strides": [_permuted(axes, back) for axes in turned.strides],
        "kernel_sizes": [_permuted(axes, back) for axes in turned.kernels],
        "batch_size": turned.batch_size(network, voxels),
    }


def target_spacing(fingerprint: Fingerprint) -> tuple[float, ...] | None:
    """The median in mm; thick slices take their 10th percentile, so that thin ones are not lost.

    Slices are thick where an axis is more than 3 times as coarse as the others and has less than a
    third of their voxels. They never become thinner than voxels are wide.
    """
    if fingerprint.spacings is None:
        return None
    spacings = np.array(fingerprint.spacings)
    target, size = np.median(spacings, axis=0), np.median(fingerprint.shapes, axis=0)
    worst = int(np.argmax(target))
    others = [axis for axis in range(len(target)) if axis != worst]
    if (
        len(target) == 3
        and target[worst] > ANISOTROPY * target[others].max()
        and ANISOTROPY * size[worst] < size[others].min()
    ):
        finer = float(np.percentile(spacings[:, worst], 10))
        target[worst] = max(finer, float(target[others].max()) + 1e-5)
    return tuple(float(mm) for mm in target)


def topology(
    patch: Sequence[float], spacing: Sequence[float], most_stages: int | None = None
) -> tuple[list[Axes], list[Axes]]:
    """Strides and kernel sizes: fine axes are halved first, until voxels are near cubic.

    A kernel looks along an axis from the stage on where the axis is near the finest one.
    """
    size, mm = list(patch), list(spacing)
    strides, kernels = [(1,) * len(size)], []
    kernel = [1] * len(size)
    while most_stages is None or len(strides) < most_stages:
        able = [a for a, n in enumerate(size) if n >= 2 * SMALLEST_FEATURE_MAP]
        finest = min((mm[a] for a in able), default=0.0)
        halved = [a for a in able if mm[a] / finest < NEAR]
        if not halved or (len(halved) == 1 and size[halved[0]] < 3 * SMALLEST_FEATURE_MAP):
            break
        kernel = [3 if k == 3 or s / min(mm) < NEAR else 1 for k, s in zip(kernel, mm, strict=True)]
        kernels.append(tuple(kernel))
        stride = tuple(2 if axis in halved else 1 for axis in range(len(size)))
        strides.append(stride)
        mm = [s * step for s, step in zip(mm, stride, strict=True)]
        size = [math.ceil(n / 2) if step > 1 else n for n, step in zip(size, stride, strict=True)]
    return strides, [*kernels, (3,) * len(size)]


def feature_map_numbers(config: UNetConfig, patch: Sequence[int]) -> int:
    """Numbers in the outputs of all convolutions of a network with a light decoder."""
    size = list(patch)
    total = config.features[0] * math.prod(size)  # the stem
    sizes, width = [], config.features[0]
    for features, blocks, stride in zip(
        config.features, config.blocks, config.strides, strict=True
    ):
        smaller = [n // step for n, step in zip(size, stride, strict=True)]
        projected = width != features or smaller != size
        total += features * math.prod(smaller) * (2 * blocks + projected)
        size, width = smaller, features
        sizes.append(size)
    for features, level in zip(config.features[:-1], sizes[:-1], strict=True):
        total += 2 * features * math.prod(level)  # upsampled, and fused
    return total + config.num_classes * math.prod(sizes[0])


@dataclass(frozen=True, slots=True)
class _Fitted:
    """A patch that fits a target, in nnU-Net's order of axes."""

    patch: Axes
    strides: list[Axes]
    kernels: list[Axes]
    numbers: int

    @classmethod
    def to_target(
        cls,
        shape: Sequence[float],
        spacing: Sequence[float],
        network: tuple[str, int, int],
    ) -> "_Fitted":
        """Start with a patch that is cubic in mm; shorten what is longest beside the image."""
        dims = len(shape)
        inverse = 1 / np.array(spacing)
        scale = (STARTING_VOXELS[dims] / np.prod(inverse)) ** (1 / dims)
        edges: list[float] = [min(round(e), n) for e, n in zip(inverse * scale, shape, strict=True)]
        fitted = cls._of(edges, spacing, network)
        while fitted.numbers > TARGETS[network[0]].numbers[dims]:
            longest = int(np.argsort([n / m for n, m in zip(fitted.patch, shape, strict=True)])[-1])
            edges = list(fitted.patch)
            edges[longest] -= _divisors(fitted.strides)[longest]
            # a shorter edge may allow finer steps
            step = _divisors(topology(edges, spacing)[0])[longest]
            edges[longest] = fitted.patch[longest] - step
            fitted = cls._of(edges, spacing, network)
        return fitted

    @classmethod
    def _of(
        cls, edges: Sequence[float], spacing: Sequence[float], network: tuple[str, int, int]
    ) -> "_Fitted":
        strides, kernels = topology(edges, spacing)
        patch = tuple(math.ceil(n / d) * d for n, d in zip(edges, _divisors(strides), strict=True))
        name, in_channels, num_classes = network
        config = preset(
            name,
            spatial_dims=len(patch),
            in_channels=in_channels,
            num_classes=num_classes,
            strides=strides,
            kernel_sizes=kernels,
        )
        return cls(patch, strides, kernels, feature_map_numbers(config, patch))

    def batch_size(self, network: str, voxels: float) -> int:
        """As many patches as fit, but no more voxels than the dataset has."""
        dims = len(self.patch)
        fitting = round(TARGETS[network].numbers[dims] / self.numbers * USUAL_BATCH[dims])
        return max(min(fitting, round(voxels / math.prod(self.patch))), SMALLEST_BATCH)


def _median_shape(fingerprint: Fingerprint, spacing: tuple[float, ...] | None) -> tuple[float, ...]:
    """Of all cases after resampling."""
    shapes = np.array(fingerprint.shapes, float)
    if spacing is not None and fingerprint.spacings is not None:
        shapes = np.round(np.array(fingerprint.spacings) / np.array(spacing) * shapes)
    return tuple(float(n) for n in np.median(shapes, axis=0))


def _divisors(strides: Sequence[Axes]) -> Axes:
    return tuple(math.prod(axis) for axis in zip(*strides, strict=True))


def _permuted(values: Sequence[int], order: Sequence[int]) -> Axes:
    return tuple(values[axis] for axis in order)
