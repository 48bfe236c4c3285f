"""Changes of patches made by a device, which has more arithmetic: the host's, for the same seeds.

What is drawn is what the host's transforms draw: a patch is the same wherever it is made but
for rounding, and for noise, whose deviation alone is. Nothing here waits for the device. Letters:
``c`` channels.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from monai import transforms as mt
from monai.data import MetaTensor
from monai.networks.layers import gaussian_1d, separable_filtering
from monai.transforms.transform import RandomizableTransform
from torch import Tensor
from torch.nn import functional

from training.samples.augmentation import Augmentation, Begun
from training.samples.images_on_device import image_moved

EPSILON = 1e-7
"""MONAI's, of the range of intensities."""
_Image = Float[Tensor, "c *spatial"]


def finished(
    samples: Sequence[Begun], augmentation: Augmentation
) -> tuple[Float[Tensor, "b c *patch"], UInt8[Tensor, "b planes *patch"]]:
    """A batch of what was begun (``Augmentation.begin``), on the device where that lies.

    Noise comes from torch's own generator of the device.
    """
    done = [_finished(sample, augmentation) for sample in samples]
    images, planes = zip(*done, strict=True)
    return torch.stack(images), torch.stack(planes)


def _finished(begun: Begun, augmentation: Augmentation) -> tuple[Tensor, Tensor]:
    image, planes = begun.image, begun.planes
    moves = augmentation.moves_of(begun)
    if isinstance(moves, mt.Compose):
        image, planes = _volume_moved(image, planes, moves, augmentation.patch)
    elif moves is not None:
        image, planes = image_moved(image, planes, moves)
    if begun.intensities is not None and augmentation.intensities is not None:
        augmentation.intensities.set_random_state(seed=begun.intensities)
        for change in augmentation.intensities.transforms:
            image = CHANGES.get(type(change), _by_monai)(change, image)
    return image, planes


def _volume_moved(
    image: Tensor, planes: Tensor, moves: mt.Compose, patch: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    for move in moves.transforms:
        if isinstance(move, mt.RandAffined):
            image, planes = _turned(image, planes, move, patch)
        else:
            assert isinstance(move, mt.RandFlipd)
            move.randomize(None)
            if move._do_transform:
                axis = 1 + int(move.flipper.spatial_axis)
                image, planes = image.flip(axis), planes.flip(axis)
    return image, planes


def _turned(
    image: Tensor, planes: Tensor, turn: mt.RandAffined, patch: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Turned about the middle and scaled."""
    turn.randomize(None)
    turn.rand_affine.randomize()
    grid = turn.rand_affine.rand_affine_grid
    grid(patch, lazy=True)  # draws; the grid itself is made on the device
    matrix = np.asarray(grid.get_transformation_matrix())[:-1, :-1]
    # grid_sample counts from -1 to 1 over a volume, its last axis first
    shares = matrix * np.array(patch) / np.array(planes.shape[1:])[:, None]
    turning = np.zeros((1, len(patch), len(patch) + 1), np.float32)
    turning[0, :, :-1] = shares[::-1, ::-1]
    there = torch.from_numpy(turning).to(image.device, non_blocking=True)
    places = functional.affine_grid(there, [1, 1, *patch], align_corners=False)

    def read(volume: Tensor, mode: str) -> Tensor:
        moved: Tensor = functional.grid_sample(
            volume[None], places, mode=mode, padding_mode="reflection", align_corners=False
        )
        return moved[0]

    return read(image, "bilinear"), read(planes.float(), "nearest").to(torch.uint8)


def _by_monai(change: Any, image: _Image) -> _Image:
    """What MONAI computes with torch alone."""
    change.randomize(image)
    changed = change(image, randomize=False)
    plain: Tensor = changed.as_tensor() if isinstance(changed, MetaTensor) else changed
    return plain


def _noise(change: mt.RandGaussianNoise, image: _Image) -> _Image:
    RandomizableTransform.randomize(change, None)
    if not change._do_transform:
        return image
    deviation: float = change.R.uniform(0, change.std)
    return image + deviation * torch.randn_like(image)


def _blur(change: mt.RandGaussianSmooth, image: _Image) -> _Image:
    change.randomize(None)
    if not change._do_transform:
        return image
    widths = (change.x, change.y, change.z)[: image.ndim - 1]
    kernels = [gaussian_1d(torch.tensor(width), approx=change.approx) for width in widths]
    there = [kernel.to(image.device, non_blocking=True) for kernel in kernels]
    blurred: Tensor = separable_filtering(image[None], there)[0]
    return blurred


def _bias(change: mt.RandBiasField, image: _Image) -> _Image:
    """Multiplied by the exponential of a sum of Legendre polynomials."""
    shape = tuple(image.shape[1:])
    change.randomize(shape)
    if not change._do_transform:
        return image
    dims, degree = len(shape), change.degree
    powers: list[tuple[int, ...]]
    if dims == 2:
        powers = [(i, j) for i in range(degree + 1) for j in range(i + 1)]
    else:
        every = product(range(degree + 1), repeat=3)
        powers = [each for each in every if sum(each) <= degree]
    basis = [_legendre(size, degree, image.device) for size in shape]
    field = torch.zeros(shape, device=image.device)
    for power, factor in zip(powers, change._coeff, strict=True):
        term = torch.full((1,) * dims, factor, device=image.device)
        for axis, exponent in enumerate(power):
            term = term * basis[axis][exponent].reshape(
                [-1 if a == axis else 1 for a in range(dims)]
            )
        field = field + term
    return image * field.exp()


def _legendre(size: int, degree: int, device: torch.device) -> list[Tensor]:
    x = torch.linspace(-1.0, 1.0, size, device=device)
    found = [torch.ones_like(x), x]
    for n in range(1, degree):  # Bonnet's recursion
        found.append(((2 * n + 1) * x * found[n] - n * found[n - 1]) / (n + 1))
    return found


def _contrast(change: mt.RandAdjustContrast, image: _Image) -> _Image:
    """A power of the intensities, between their least and largest, with their mean and spread."""
    change.randomize(None)
    if not change._do_transform:
        return image
    least = image.min()
    spread = image.max() - least
    bent = ((image - least) / (spread + EPSILON)) ** change.gamma_value * spread + least
    bent = bent - bent.mean()
    changed: Tensor = image.std() * bent / (bent.std() + 1e-8) + image.mean()
    return changed


def _holes(change: mt.RandCoarseDropout, image: _Image) -> _Image:
    change.randomize(tuple(image.shape[1:]))
    if not change._do_transform:
        return image
    image = image.clone()
    for hole in change.hole_coords:
        image[hole] = change.fill_value
    return image


CHANGES: Mapping[type, Callable[[Any, _Image], _Image]] = {
    mt.RandGaussianNoise: _noise,
    mt.RandGaussianSmooth: _blur,
    mt.RandBiasField: _bias,
    mt.RandAdjustContrast: _contrast,
    mt.RandCoarseDropout: _holes,
}
"""What MONAI computes with numpy, or asks the device about."""
