"""Draws cells: a dataset for tests and for machines without a network.

Every cell has a nucleus. The light is uneven, both channels are blurred and noisy, and debris
shines like nuclei, so one threshold over the image does not find the classes.
Letters: ``n`` cells, ``d`` spatial axes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Integer
from scipy import ndimage

from data.raw_format import RawFolder
from seg.errors import ConfigError
from seg.images import ClassInfo, Image, Mask
from seg.model_package import Channel

CLASSES = (
    ClassInfo(index=0, name="background", color=(0, 0, 0)),
    ClassInfo(index=1, name="cytoplasm", color=(86, 180, 233)),
    ClassInfo(index=2, name="nucleus", color=(230, 159, 0)),
)
CHANNELS = (
    Channel(name="nuclei", modality="microscopy"),
    Channel(name="cells", modality="microscopy"),
)
SPACING = {2: None, 3: (3.0, 1.0, 1.0)}
"""Volumes are anisotropic, as most microscopes' and scanners' are."""
_SIZE = {2: (192, 192), 3: (16, 64, 64)}
_SMALLEST = {2: (16, 16), 3: (4, 16, 16)}

Steps = Float[np.ndarray, " d"]
"""Distance of neighbouring voxels in mm."""

_CELL_RADIUS = (9.0, 14.0)
_NUCLEUS_SHARE = 0.45
_COVERED = 0.35
"""Share of the image that cells would cover if none overlapped."""


def draw(
    out: Path,
    *,
    dims: Literal[2, 3] = 2,
    cases: int = 8,
    size: tuple[int, ...] | None = None,
    seed: int = 0,
    name: str = "phantom",
) -> Path:
    """Draw a dataset in nnU-Net raw format into the folder ``out``, the last quarter as test.

    The same arguments give the same pixels.

    Args:
        out: New or empty folder.
        dims: 2 for TIFF images, 3 for NIfTI volumes.
        cases: At least 2.
        size: One number a spatial axis, ``(z, y, x)``.
        seed: Of all randomness.
        name: Of the dataset; case names begin with it.

    Raises:
        ConfigError: fewer than 2 cases or an image too small for a cell.
    """
    size = size or _SIZE[dims]
    _check(dims, cases, size)
    raw = RawFolder(out, name, CHANNELS, CLASSES, ".tif" if dims == 2 else ".nii.gz")
    tests = max(1, cases // 4)
    for case in range(cases):
        image, mask = _case(np.random.default_rng([seed, case]), size)
        raw.add("test" if case >= cases - tests else "train", image, mask, origin=f"seed {seed}")
    raw.finish(licence="Apache-2.0", rights="drawn by code, shows nothing real", seed=seed)
    return out


def _check(dims: int, cases: int, size: tuple[int, ...]) -> None:
    if cases < 2:
        raise ConfigError(f"a dataset needs a case to train and one to test, got cases={cases}")
    smallest = _SMALLEST[dims]
    if len(size) != dims or any(have < need for have, need in zip(size, smallest, strict=True)):
        raise ConfigError(f"a {dims}D phantom is at least {smallest}, got size={size}")


def _case(rng: np.random.Generator, size: tuple[int, ...]) -> tuple[Image, Mask]:
    spacing = SPACING[len(size)]
    steps = np.array(spacing or (1.0,) * len(size))
    cells = _scatter(rng, size, steps)
    labels = np.zeros(size, np.uint8)
    stain = np.zeros(size)
    body = np.zeros(size)
    for cell in cells:
        inside, nucleus = cell.shape_on(size, steps)
        labels[inside & (labels == 0)] = 1
        labels[nucleus] = 2
        body[inside] = np.maximum(body[inside], cell.body)
        stain[nucleus] = cell.stain
    body *= 1.0 - 0.5 * (labels == 2)
    stain = stain + 0.15 * body + _debris(rng, labels == 0, 2 * len(cells), steps)
    channels = [_photograph(rng, each, steps) for each in (stain, body)]
    image = Image(np.stack(channels), spacing=spacing)
    return image, Mask.on_grid_of(image, labels)


@dataclass(frozen=True)
class _Cell:
    """An ellipsoid with a wavy outline and a smaller one inside."""

    center: Float[np.ndarray, " d"]
    radii: Float[np.ndarray, " d"]
    nucleus_center: Float[np.ndarray, " d"]
    wave: Float[np.ndarray, " d"]
    """Direction and frequency of the outline's waves."""
    stain: float
    body: float

    def shape_on(
        self, size: tuple[int, ...], steps: Steps
    ) -> tuple[Bool[np.ndarray, "*size"], Bool[np.ndarray, "*size"]]:
        """The voxels of the whole cell and of its nucleus."""
        grid = np.moveaxis(np.indices(size), 0, -1) * steps
        away = grid - self.center
        outline = 1.0 + 0.15 * np.sin(away @ self.wave)
        whole = np.linalg.norm(away / self.radii, axis=-1) < outline
        nucleus_radii = _NUCLEUS_SHARE * self.radii
        nucleus = np.linalg.norm((grid - self.nucleus_center) / nucleus_radii, axis=-1) < 1.0
        return whole, nucleus & whole


def _scatter(rng: np.random.Generator, size: tuple[int, ...], steps: Steps) -> list[_Cell]:
    extent = np.array(size) * steps
    mean_radius = float(np.mean(_CELL_RADIUS))
    ball = {2: np.pi, 3: 4 / 3 * np.pi}[len(size)] * mean_radius ** len(size)
    count = max(1, round(_COVERED * float(np.prod(extent)) / ball))
    return [_cell(rng, extent) for _ in range(count)]


def _cell(rng: np.random.Generator, extent: Float[np.ndarray, " d"]) -> _Cell:
    dims = len(extent)
    radii = rng.uniform(*_CELL_RADIUS, size=dims)
    center = rng.uniform(0.1, 0.9, size=dims) * extent
    return _Cell(
        center=center,
        radii=radii,
        nucleus_center=center + rng.uniform(-0.2, 0.2, size=dims) * radii,
        wave=rng.uniform(0.2, 0.5, size=dims),
        stain=rng.uniform(0.4, 1.0),
        body=rng.uniform(0.35, 0.8),
    )


def _debris(
    rng: np.random.Generator, free: Bool[np.ndarray, "*size"], specks: int, steps: Steps
) -> Float[np.ndarray, "*size"]:
    """Specks as bright as nuclei and smaller, where no cell is."""
    thrown = rng.random(free.shape) < specks / free.size
    light = ndimage.gaussian_filter((thrown & free).astype(float), 1.2 / steps)
    return 1.5 * light / max(float(light.max()), 1e-9)


def _photograph(
    rng: np.random.Generator, light: Float[np.ndarray, "*size"], steps: Steps
) -> Integer[np.ndarray, "*size"]:
    """What a camera makes of the light: uneven, blurred, noisy, in 16 bits."""
    blurred = ndimage.gaussian_filter(light, 1.0 / steps)
    glow = _smooth(rng, light.shape)
    exposed = blurred * (0.3 + 0.9 * glow) + 0.6 * _smooth(rng, light.shape) + 0.1
    photons = rng.poisson(300.0 * exposed).astype(float)
    return np.clip(400 + 8 * photons + rng.normal(0, 60, light.shape), 0, 65535).astype(np.uint16)


def _smooth(rng: np.random.Generator, size: tuple[int, ...]) -> Float[np.ndarray, "*size"]:
    """A field from 0 to 1 with a few hills and valleys: four long waves."""
    place = np.moveaxis(np.indices(size), 0, -1) / np.array(size)
    waves = rng.uniform(-1.5, 1.5, size=(len(size), 4))
    field = np.cos(2 * np.pi * (place @ waves + rng.random(4))).sum(axis=-1)
    low, high = float(field.min()), float(field.max())
    return np.asarray((field - low) / (high - low))
