"""Random changes that leave an image as likely as it was, and its labels right.

In 2D albumentations moves the pixels, in 3D MONAI does; intensities are changed by MONAI in
both, since albumentations clips float images to 0..1 and ours are z-scores. All randomness comes
from the generator that is passed in. Letters: ``c`` channels.

``python -m training.augment PATH --show`` draws a sheet of samples.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import albumentations as A
import cv2
import numpy as np
from jaxtyping import Float32, UInt8
from monai import transforms as mt

from seg.errors import ConfigError
from training.dataset.painting import faded, painted_out, with_artefact

LEANING = math.pi / 6
"""Radians by which a volume is turned, or an image that must not be upside down."""
MARGIN = 1.25
"""What is cut out before a turn, as a multiple of the patch, so that corners stay filled."""
ANISOTROPIC = 3
"""Ratio of patch edges from which a volume is turned within its slices only (nnU-Net)."""


@dataclass(frozen=True, kw_only=True)
class Strength:
    """What a preset does; probabilities of a patch, one by one."""

    mirrors: bool = True
    """In 2D also quarter turns."""
    turns: float = 0.0
    """Turned by any angle (volumes: 30 degrees, or any within thin slices) and scaled."""
    scales: tuple[float, float] = (0.75, 1.35)
    elastic: float = 0.0
    """Of the turned: bent, in 2D."""
    noise: tuple[float, float] = (0.0, 0.0)
    """Probability and largest deviation; z-scores have 1."""
    blur: tuple[float, float] = (0.0, 1.0)
    """Probability and largest deviation in voxels."""
    brightness: float = 0.0
    contrast: float = 0.0
    illumination: float = 0.0
    """Uneven, as a lamp or a coil gives it."""
    coarseness: float = 0.0
    """As if taken at up to half the resolution."""
    holes: float = 0.0
    artefacts: float = 0.0
    """Bright fibres and specks of dust."""
    gain: float = 0.25
    """Brightness is multiplied by 1 and that much more or less."""

    @property
    def intensities(self) -> bool:
        """Whether any intensity is changed."""
        chances = (self.noise[0], self.blur[0], self.brightness, self.contrast)
        return max(*chances, self.illumination, self.coarseness, self.holes) > 0


STRENGTHS: Mapping[str, Strength] = {
    "none": Strength(mirrors=False),
    "light": Strength(),
    # For few steps: what makes networks robust and costs little on images like those of training.
    "robust": Strength(
        turns=0.15, scales=(0.55, 1.8), noise=(0.2, 1.0), blur=(0.15, 1.5), brightness=0.3,
        contrast=0.25, illumination=0.15, artefacts=0.05, gain=0.5,
    ),
    # Rates and ranges of Isensee et al., nnU-Net, Nature Methods 18 (2021).
    "medical": Strength(
        turns=0.3, noise=(0.1, 0.2), blur=(0.1, 1.0), brightness=0.3, contrast=0.2
    ),
    # Focus, dyes and lamps differ from slide to slide, and cells have no upright shape.
    "microscopy": Strength(
        turns=0.4, elastic=0.3, noise=(0.2, 0.3), blur=(0.2, 1.5), brightness=0.4, contrast=0.3,
        illumination=0.2, artefacts=0.05, gain=0.5,
    ),
    "strong": Strength(
        turns=0.6, scales=(0.6, 1.6), elastic=0.4, noise=(0.3, 0.4), blur=(0.3, 2.0),
        brightness=0.5, contrast=0.4, illumination=0.3, coarseness=0.25, holes=0.2,
        artefacts=0.1, gain=0.5,
    ),
}  # fmt: skip

_Image = Float32[np.ndarray, "c *spatial"]
_Labels = UInt8[np.ndarray, "*planes_and_spatial"]

PRESETS = tuple(STRENGTHS)

# threads of the network's own already fill the cores
cv2.setNumThreads(0)


class Begun(NamedTuple):
    """A patch, or the region that it is made from, whose changes are drawn and not all made."""

    image: Any
    """``(c, *spatial)``, of numpy or torch, as the labels."""
    planes: Any
    """Labels, ``(planes, *spatial)``."""
    move: int | None
    """Seed of how the region is moved; None where it was."""
    intensities: int | None
    """Seed of how the patch's intensities are changed; None where they are not."""


class Augmentation:
    """Cuts a region to a patch and changes it."""

    def __init__(
        self,
        preset: str,
        patch: tuple[int, ...],
        empty_share: float = 0.0,
        *,
        mirror_axes: Sequence[int] | None = None,
        fade_share: float = 0.0,
    ) -> None:
        """Use a preset; ``empty_share`` of the patches lose all that they show of classes.

        In ``fade_share`` of the others each object is made paler, or a little brighter.

        Patches are mirrored along ``mirror_axes``, along all where they are not given. Where one is
        left out, patches are turned by no more than ``LEANING`` in its planes, and never by a
        quarter: what lies left stays left.
        """
        if preset not in STRENGTHS:
            raise ConfigError(f"augmentation is one of {', '.join(PRESETS)}, got {preset!r}")
        strength = STRENGTHS[preset]
        self.patch = patch
        self._turns = strength.turns
        self._empty_share = empty_share
        self._fade_share = fade_share
        self._artefacts = strength.artefacts
        axes = tuple(range(len(patch)) if mirror_axes is None else mirror_axes)
        self._moves: tuple[mt.Compose, mt.Compose] | tuple[A.Compose, A.Compose]
        """Of a region of the patch's size, and of one that is larger."""
        if len(patch) == 3:
            self._moves = volume_moves(patch, strength, axes)
        else:
            self._moves = image_moves(patch, strength, axes)
        self._moves_something = bool(strength.mirrors and axes) or strength.turns > 0
        self.intensities = _intensities(strength, len(patch)) if strength.intensities else None
        """Changes with a random state each, one after the other."""

    @property
    def leaves_something(self) -> bool:
        """Whether there is anything that a device could do."""
        return self.intensities is not None or self._moves_something

    @property
    def largest(self) -> tuple[int, ...]:
        """Most voxels along each axis of what a device is left with."""
        return tuple(round(n * MARGIN) if self._turns and n > 1 else n for n in self.patch)

    def region(self, rng: np.random.Generator) -> tuple[int, ...]:
        """Size in voxels of what the next patch is made from."""
        if self._turns and rng.random() < self._turns:
            return tuple(round(n * MARGIN) if n > 1 else n for n in self.patch)
        return self.patch

    def __call__(
        self, image: _Image, labels: _Labels, rng: np.random.Generator
    ) -> tuple[_Image, _Labels]:
        """A patch from a region of the size that ``region`` asked for.

        Labels may be several planes that are moved alike: an axis more, before the spatial ones.
        """
        is_plain = labels.ndim == len(self.patch)
        begun = self.begin(image, labels[None] if is_plain else labels, rng)
        image, planes, _, seed = self.moved(begun)
        if seed is not None and self.intensities is not None:
            self.intensities.set_random_state(seed=seed)
            image = np.asarray(self.intensities(image), dtype=np.float32)
        return np.ascontiguousarray(image), np.ascontiguousarray(planes[0] if is_plain else planes)

    def begin(self, image: _Image, planes: _Labels, rng: np.random.Generator) -> Begun:
        """Draw all changes, and make those that nothing but numpy makes.

        What is left is the same for the same seeds, here or on a device
        (``training.samples.on_device``).
        """
        begun = Begun(image, planes, int(rng.integers(2**31)), None)
        if self._empty_share and rng.random() < self._empty_share:
            begun = self.moved(begun)
            image, classes = painted_out(begun.image, begun.planes[0], rng)
            planes = np.concatenate([classes[None], begun.planes[1:]])
            begun = begun._replace(image=image, planes=planes)
        elif self._fade_share and rng.random() < self._fade_share:
            begun = self.moved(begun)
            begun = begun._replace(image=faded(begun.image, begun.planes[0], rng))
        if self._artefacts and rng.random() < self._artefacts:
            begun = self.moved(begun)
            begun = begun._replace(image=with_artefact(begun.image, rng))
        if self.intensities is not None:
            begun = begun._replace(intensities=int(rng.integers(2**31)))
        return begun

    def moved(self, begun: Begun) -> Begun:
        """The patch moved, where it was not."""
        moves = self.moves_of(begun)
        if moves is None:
            return begun
        if isinstance(moves, mt.Compose):
            image, planes = _volume_moved(begun.image, begun.planes, moves)
        else:
            image, planes = _image_moved(begun.image, begun.planes, moves)
        return begun._replace(image=image, planes=planes, move=None)

    def moves_of(self, begun: Begun) -> mt.Compose | A.Compose | None:
        """How a region is still to be moved, random states set; None where all moves are made."""
        if begun.move is None:
            return None
        moves = self._moves[tuple(begun.planes.shape[1:]) != self.patch]
        if isinstance(moves, mt.Compose):
            moves.set_random_state(seed=begun.move)
        else:
            _seed_each(moves, begun.move)
        return moves


def image_moves(
    patch: tuple[int, ...], strength: Strength, axes: tuple[int, ...]
) -> tuple[A.Compose, A.Compose]:
    """How an image of the patch's size is moved, and how one that is larger."""
    height, width = patch
    all_ways = len(axes) == len(patch)
    angle = 180.0 if all_ways else math.degrees(LEANING)
    turn = A.Affine(
        scale=strength.scales,
        rotate=(-angle, angle),
        interpolation=cv2.INTER_LINEAR,
        mask_interpolation=cv2.INTER_NEAREST,
        border_mode=cv2.BORDER_REFLECT_101,
        p=1.0,
    )
    flips = [A.VerticalFlip(p=0.5), A.HorizontalFlip(p=0.5)]
    mirror = [flips[axis] for axis in sorted(axes, reverse=True)]
    if height == width and all_ways:
        mirror = [A.D4(p=1.0)]
    steps = mirror if strength.mirrors else []
    bend = A.ElasticTransform(
        alpha=max(patch), sigma=max(1.0, max(patch) / 12), border_mode=cv2.BORDER_REFLECT_101,
        p=strength.elastic,
    )  # fmt: skip
    return A.Compose(steps), A.Compose([turn, bend, A.CenterCrop(height, width), *steps])


def _image_moved(image: _Image, labels: _Labels, moves: A.Compose) -> tuple[_Image, _Labels]:
    planes = labels[0] if len(labels) == 1 else np.moveaxis(labels, 0, -1)
    moved = moves(image=np.moveaxis(image, 0, -1), mask=np.ascontiguousarray(planes))
    pixels = moved["image"].reshape(*moved["mask"].shape[:2], len(image))
    planes = moved["mask"].reshape(*moved["mask"].shape[:2], len(labels))
    return np.moveaxis(pixels, -1, 0), np.moveaxis(planes, -1, 0)


def _seed_each(pipeline: A.Compose, seed: int) -> None:
    """Each step draws numbers of its own.

    A pipeline gives all of its steps one seed, with which both flips are taken or none is, and an
    angle goes with a flip.
    """
    states = np.random.SeedSequence(seed).generate_state(len(pipeline.transforms))
    for step, state in zip(pipeline.transforms, states, strict=True):
        step.set_random_seed(int(state))


def volume_moves(
    patch: tuple[int, ...], strength: Strength, axes: tuple[int, ...]
) -> tuple[mt.Compose, mt.Compose]:
    """How a volume of the patch's size is moved, and how one that is larger."""
    flat = max(patch) / min(patch) > ANISOTROPIC
    any_way = np.pi if len(axes) == len(patch) else LEANING
    angle = (any_way, 0.0, 0.0) if flat else (LEANING,) * 3
    keys = ("image", "labels")
    turn = mt.RandAffined(
        keys,
        prob=1.0,
        spatial_size=patch,
        rotate_range=angle,
        scale_range=[tuple(scale - 1 for scale in strength.scales)] * 3,
        mode=("bilinear", "nearest"),
        padding_mode="reflection",
    )
    mirror = [mt.RandFlipd(keys, prob=0.5, spatial_axis=axis) for axis in axes]
    steps = mirror if strength.mirrors else []
    return mt.Compose(steps), mt.Compose([turn, *steps])


def _volume_moved(image: _Image, labels: _Labels, moves: mt.Compose) -> tuple[_Image, _Labels]:
    moved = moves({"image": image, "labels": labels})
    return (
        np.asarray(moved["image"], dtype=np.float32),
        np.asarray(moved["labels"]).astype(np.uint8),
    )


def _intensities(strength: Strength, dims: int) -> mt.Compose:
    deviation = (0.5, strength.blur[1])
    changes: list[tuple[float, Any]] = [
        (strength.noise[0], mt.RandGaussianNoise(prob=strength.noise[0], std=strength.noise[1])),
        (strength.blur[0], mt.RandGaussianSmooth(
            sigma_x=deviation, sigma_y=deviation, sigma_z=deviation, prob=strength.blur[0])),
        (strength.brightness, mt.RandScaleIntensity(
            factors=strength.gain, prob=strength.brightness, channel_wise=True)),
        (strength.brightness, mt.RandShiftIntensity(
            offsets=0.2, prob=strength.brightness, channel_wise=True)),
        (strength.illumination, mt.RandBiasField(
            degree=2, coeff_range=(0.0, 0.3), prob=strength.illumination)),
        (strength.contrast, mt.RandAdjustContrast(
            prob=strength.contrast, gamma=(0.7, 1.5), retain_stats=True)),
        (strength.coarseness, mt.RandSimulateLowResolution(
            prob=strength.coarseness, zoom_range=(0.5, 1.0),
            upsample_mode="bilinear" if dims == 2 else "trilinear")),
        (strength.holes, mt.RandCoarseDropout(
            holes=1, max_holes=4, spatial_size=2, max_spatial_size=12, fill_value=0.0,
            prob=strength.holes)),
    ]  # fmt: skip
    return mt.Compose([change for chance, change in changes if chance > 0])
