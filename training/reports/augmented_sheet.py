"""A sheet of augmented samples: a row is a patch as it is, then as a training would see it."""

from collections.abc import Sequence
from typing import Any

import imagecodecs
import numpy as np
from jaxtyping import Float32, UInt8

from seg.errors import ConfigError
from seg.images import ClassInfo
from seg.images.pictures.overlay import as_rgb, blend_colours, fullest_slice
from training.dataset import IGNORE, Dataset
from training.dataset.fingerprint import fingerprint_of
from training.planning.rules import make_plan
from training.run.device import find_device
from training.samples.augmentation import Augmentation
from training.samples.prepared_cases import on_the_network_s_grid

ROWS, SAMPLES = 4, 6


GAP = 4
"""Pixels between the pictures."""


def sheet(dataset: Dataset, preset: str, patch: Sequence[int] | None, seed: int) -> bytes:
    """The sheet as PNG.

    Raises:
        DatasetError: a case cannot be read.
        ConfigError: the patch does not fit the images.
    """
    if patch and len(patch) != dataset.dims:
        raise ConfigError(f"--patch needs {dataset.dims} numbers here, got {len(patch)}")
    chosen: dict[str, Any] = {"patch": tuple(patch)} if patch else {}
    plan = make_plan(
        fingerprint_of(dataset), dataset.channels, find_device().kind,
        dataset=dataset.name, data=str(dataset.folder), minutes=1,
        left_right_axis=dataset.left_right_axis, **chosen,
    )  # fmt: skip
    axes = plan.mirrored_axes([info.name for info in dataset.classes[1:]])
    augmentation = Augmentation(preset, plan.patch, plan.empty_share, mirror_axes=axes)
    rng = np.random.default_rng(seed)
    cases = [dataset.train[i * len(dataset.train) // ROWS] for i in range(ROWS)]
    rows = []
    for case in cases:
        image, labels = on_the_network_s_grid(*dataset.read(case), plan)
        centre = _somewhere_in_the_foreground(labels, rng)
        plain = _cut(image, labels, centre, plan.patch)
        pictures = [_picture(*plain, ()), _picture(*plain, dataset.classes)]
        for _ in range(SAMPLES):
            region = _cut(image, labels, centre, augmentation.region(rng))
            pictures.append(_picture(*augmentation(*region, rng), dataset.classes))
        rows.append(np.concatenate(pictures, axis=1))
    return bytes(imagecodecs.png_encode(np.concatenate(rows)))


def _somewhere_in_the_foreground(
    labels: UInt8[np.ndarray, "*grid"], rng: np.random.Generator
) -> tuple[int, ...]:
    places = np.flatnonzero((labels > 0) & (labels != IGNORE))
    place = rng.choice(places) if len(places) else labels.size // 2
    return tuple(int(at) for at in np.unravel_index(place, labels.shape))


def _cut(
    image: Float32[np.ndarray, "c *grid"],
    labels: UInt8[np.ndarray, "*grid"],
    centre: Sequence[int],
    size: Sequence[int],
) -> tuple[Float32[np.ndarray, "c *region"], UInt8[np.ndarray, "*region"]]:
    at = []
    for c, n, whole in zip(centre, size, labels.shape, strict=True):
        edge = min(n, whole)
        start = int(np.clip(c - edge // 2, 0, whole - edge))
        at.append(slice(start, start + edge))
    return image[:, *at].copy(), labels[tuple(at)].copy()


def _picture(
    image: Float32[np.ndarray, "c *patch"],
    labels: UInt8[np.ndarray, "*patch"],
    classes: Sequence[ClassInfo],
) -> UInt8[np.ndarray, "y x 3"]:
    """The image with its labels painted over it; of a volume the fullest slice."""
    if labels.ndim == 3:
        z = fullest_slice(labels)
        image, labels = image[:, z], labels[z]
    picture = as_rgb(image)
    if classes:
        known = np.where(labels < len(classes), labels, np.uint8(0))
        picture = blend_colours(picture, known, classes)
    return np.pad(picture, ((0, GAP), (0, GAP), (0, 0)), constant_values=255)
