"""A sheet of augmented samples: ``python -m training.augment PATH --show``.

A row is a patch as it is and with its labels, then as a training would see it, again and again.
"""

import argparse
import webbrowser
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from jaxtyping import Float32, UInt8

from seg.commands import exit_status
from seg.errors import ConfigError
from seg.files import replace_file
from seg.images import ClassInfo
from seg.images.overlay import as_rgb, blend, fullest_slice
from training import augment
from training.augment import Augmentation
from training.dataset import IGNORE, Dataset, load_dataset
from training.fingerprint import fingerprint_of
from training.machine import find_device
from training.patches import on_the_network_s_grid
from training.plan_rules import make_plan

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
        dataset=dataset.name, data=str(dataset.folder), minutes=1, **chosen,
    )  # fmt: skip
    augmentation = Augmentation(preset, plan.patch)
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
        picture = blend(picture, known, classes)
    return np.pad(picture, ((0, GAP), (0, GAP), (0, 0)), constant_values=255)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 when the sheet is drawn, 2 when it cannot be."""
    return exit_status(partial(_run, _command_line().parse_args(arguments)))


def _run(options: argparse.Namespace) -> int:
    dataset = load_dataset(options.data)
    drawn = sheet(dataset, options.preset, options.patch, options.seed)
    replace_file(options.out, drawn)
    print(f"written to {options.out}")  # noqa: T201
    if options.show:
        webbrowser.open(options.out.resolve().as_uri())
    return 0


def _command_line() -> argparse.ArgumentParser:
    command = argparse.ArgumentParser(
        prog="python -m training.augment",
        description="Draw patches as a training would see them: plain, with labels, then changed.",
    )
    command.add_argument("data", type=Path, metavar="PATH", help="folder of the dataset")
    command.add_argument(
        "--preset", choices=augment.PRESETS, default="medical", help="default: medical"
    )
    command.add_argument("--patch", type=int, nargs="+", metavar="N", help="one number an axis")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    command.add_argument(
        "--out", type=Path, default=Path("augmented.png"), metavar="FILE",
        help="default: augmented.png",
    )  # fmt: skip
    command.add_argument("--show", action="store_true", help="open it, where there is a screen")
    return command
