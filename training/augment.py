"""Random changes that leave an image as likely as it was, and its labels right.

In 2D albumentations moves the pixels, in 3D MONAI does; intensities are changed by MONAI in
both, since albumentations clips float images to 0..1 and ours are z-scores. All randomness comes
from the generator that is passed in. Letters: ``c`` channels.

Rates and ranges follow Isensee et al., nnU-Net, Nature Methods 18 (2021).
"""

from collections.abc import Callable

import albumentations as A
import cv2
import numpy as np
from jaxtyping import Float32, UInt8
from monai import transforms as mt

from seg.errors import ConfigError

MARGIN = 1.25
"""What is cut out before a turn, as a multiple of the patch, so that corners stay filled."""
ANISOTROPIC = 3
"""Ratio of patch edges from which a volume is turned within its slices only (nnU-Net)."""
TURNS, SCALES = 0.3, (0.75, 1.35)

_Image = Float32[np.ndarray, "c *spatial"]
_Labels = UInt8[np.ndarray, "*spatial"]
_Move = Callable[[_Image, _Labels, int], tuple[_Image, _Labels]]

PRESETS = ("none", "light", "standard")

# threads of the network's own already fill the cores
cv2.setNumThreads(0)


class Augmentation:
    """Cuts a region to a patch and changes it; ``light`` mirrors, ``standard`` does all."""

    def __init__(self, preset: str, patch: tuple[int, ...]) -> None:
        if preset not in PRESETS:
            raise ConfigError(f"augmentation is one of {', '.join(PRESETS)}, got {preset!r}")
        self.patch = patch
        self._turns = preset == "standard"
        self._move: _Move = _move_2d(patch, preset) if len(patch) == 2 else _move_3d(patch, preset)
        self._intensities = _intensities() if preset == "standard" else None

    def region(self, rng: np.random.Generator) -> tuple[int, ...]:
        """Size in voxels of what the next patch is made from."""
        if self._turns and rng.random() < TURNS:
            return tuple(round(n * MARGIN) if n > 1 else n for n in self.patch)
        return self.patch

    def __call__(
        self, image: _Image, labels: _Labels, rng: np.random.Generator
    ) -> tuple[_Image, _Labels]:
        """A patch from a region of the size that ``region`` asked for."""
        image, labels = self._move(image, labels, int(rng.integers(2**31)))
        if self._intensities is not None:
            self._intensities.set_random_state(seed=int(rng.integers(2**31)))
            image = np.asarray(self._intensities(image), dtype=np.float32)
        return np.ascontiguousarray(image), np.ascontiguousarray(labels)


def _move_2d(patch: tuple[int, ...], preset: str) -> _Move:
    height, width = patch
    turn = A.Affine(
        scale=SCALES,
        rotate=(-180, 180),
        interpolation=cv2.INTER_LINEAR,
        mask_interpolation=cv2.INTER_NEAREST,
        border_mode=cv2.BORDER_REFLECT_101,
        p=1.0,
    )
    mirror = [A.D4(p=1.0)] if height == width else [A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)]
    steps = [] if preset == "none" else mirror
    plain = A.Compose(steps)
    turned = A.Compose([turn, A.CenterCrop(height, width), *steps])

    def move(image: _Image, labels: _Labels, seed: int) -> tuple[_Image, _Labels]:
        pipeline = plain if labels.shape == patch else turned
        pipeline.set_random_seed(seed)
        moved = pipeline(image=np.moveaxis(image, 0, -1), mask=labels)
        pixels = moved["image"].reshape(*moved["mask"].shape, len(image))
        return np.moveaxis(pixels, -1, 0), moved["mask"]

    return move


def _move_3d(patch: tuple[int, ...], preset: str) -> _Move:
    flat = max(patch) / min(patch) > ANISOTROPIC
    angle = (np.pi, 0.0, 0.0) if flat else (np.pi / 6,) * 3
    keys = ("image", "labels")
    turn = mt.RandAffined(
        keys,
        prob=1.0,
        spatial_size=patch,
        rotate_range=angle,
        scale_range=[(SCALES[0] - 1, SCALES[1] - 1)] * 3,
        mode=("bilinear", "nearest"),
        padding_mode="reflection",
    )
    mirror = [mt.RandFlipd(keys, prob=0.5, spatial_axis=axis) for axis in range(3)]
    steps = [] if preset == "none" else mirror
    plain, turned = mt.Compose(steps), mt.Compose([turn, *steps])

    def move(image: _Image, labels: _Labels, seed: int) -> tuple[_Image, _Labels]:
        pipeline = plain if labels.shape == patch else turned
        pipeline.set_random_state(seed=seed)
        moved = pipeline({"image": image, "labels": labels[None]})
        return (
            np.asarray(moved["image"], dtype=np.float32),
            np.asarray(moved["labels"])[0].astype(np.uint8),
        )

    return move


def _intensities() -> mt.Compose:
    return mt.Compose(
        [
            mt.RandGaussianNoise(prob=0.1, std=0.2),
            mt.RandGaussianSmooth(sigma_x=(0.5, 1), sigma_y=(0.5, 1), sigma_z=(0.5, 1), prob=0.1),
            mt.RandScaleIntensity(factors=0.25, prob=0.3, channel_wise=True),
            mt.RandShiftIntensity(offsets=0.2, prob=0.3, channel_wise=True),
            mt.RandAdjustContrast(prob=0.2, gamma=(0.7, 1.5), retain_stats=True),
        ]
    )
