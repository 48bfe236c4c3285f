"""Drawn cells that touch, each with a number, small enough for tests."""

import json
from pathlib import Path

import numpy as np
import tifffile


def cells(seed: int, size: tuple[int, int] = (80, 96), count: int = 26):
    """An image of bright discs, and their numbers; some touch."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    numbers = np.zeros(size, np.uint16)
    image = rng.normal(20, 3, size)
    for number in range(1, count + 1):
        centre = rng.uniform(5, np.array(size) - 5)
        distance = np.hypot(y - centre[0], x - centre[1])
        disc = (distance < rng.uniform(5, 7)) & (numbers == 0)
        numbers[disc] = number
        image[disc] = 120 - 8 * distance[disc] + rng.normal(0, 3, disc.sum())
    return image.clip(0, 255).astype(np.uint8), numbers


def instance_folder(folder: Path, *, cases: int = 7, text: str = "masks: instances\n") -> Path:
    """A plain folder of such images."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for case in range(cases):
        image, numbers = cells(case)
        tifffile.imwrite(folder / "images" / f"well_{case}.tif", image)
        tifffile.imwrite(folder / "masks" / f"well_{case}.tif", numbers)
    (folder / "dataset.yaml").write_text(text)
    return folder


def json_of(path: Path):
    return json.loads(path.read_text())
