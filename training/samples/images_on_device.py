"""Images turned, bent and mirrored by a device, as albumentations would on the host.

What is drawn are albumentations' own numbers, for the same seeds; only the noise that bends an
image comes from torch's generator of the device, with the distribution of the host's. Nothing here
waits for the device. Letters: ``c`` channels.
"""

from collections.abc import Callable, Mapping
from typing import Any

import albumentations as A
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

KERNEL = 4
"""Deviations to each side that OpenCV blurs over."""
_Image = Float[Tensor, "c y x"]
_Planes = UInt8[Tensor, "planes y x"]


def image_moved(image: _Image, planes: _Planes, moves: A.Compose) -> tuple[_Image, _Planes]:
    """Moved by steps whose random states are set (``Augmentation.moves_of``)."""
    for step in moves.transforms:
        if step.should_apply():
            image, planes = MOVES[type(step)](step, image, planes)
    return image, planes


def _drawn(step: Any, image: _Image) -> dict[str, Any]:
    """What albumentations draws for an image of this size."""
    data = {"image": np.broadcast_to(np.float32(0), (*image.shape[1:], 1))}
    found: dict[str, Any] = step.update_transform_params(params=step.get_params(), data=data)
    found.update(step.get_params_dependent_on_data(params=found, data=data))
    return found


def _turned(step: A.Affine, image: _Image, planes: _Planes) -> tuple[_Image, _Planes]:
    matrix = np.asarray(_drawn(step, image)["matrix"], np.float64)
    height, width = image.shape[1:]
    # from pixels, x before y, to -1 at the first of them and 1 at the last
    scale_x, scale_y = 2 / max(1, width - 1), 2 / max(1, height - 1)
    there = np.array([[scale_x, 0, -1], [0, scale_y, -1], [0, 0, 1]])
    turning = there @ np.linalg.inv(matrix) @ np.linalg.inv(there)
    theta = torch.from_numpy(turning[None, :2].astype(np.float32))
    theta = theta.to(image.device, non_blocking=True)
    return _read(image, planes, functional.affine_grid(theta, [1, 1, height, width], True))


def _bent(step: A.ElasticTransform, image: _Image, planes: _Planes) -> tuple[_Image, _Planes]:
    shifts = displacements(step, image)
    height, width = image.shape[1:]
    x = torch.arange(width, device=image.device) + shifts[0]
    y = torch.arange(height, device=image.device)[:, None] + shifts[1]
    places = torch.stack([2 * x / max(1, width - 1) - 1, 2 * y / max(1, height - 1) - 1], dim=-1)
    return _read(image, planes, places[None])


def displacements(step: A.ElasticTransform, like: _Image) -> Float[Tensor, "2 y x"]:
    """Pixels by which x and y are moved: noise between -1 and 1, blurred, and made larger.

    Both are blurred as one image, x above y, as albumentations does.
    """
    height, width = like.shape[1:]
    noise = torch.randn(1, 1, 2 * height, width, device=like.device)
    noise = noise / noise.abs().amax()
    radius = round(KERNEL * step.sigma)
    steps = torch.arange(-radius, radius + 1, device=like.device)
    kernel = torch.exp(-0.5 * (steps / step.sigma) ** 2)
    kernel = kernel / kernel.sum()
    wide = functional.pad(noise, (radius,) * 4, mode="replicate")
    blurred = functional.conv2d(wide, kernel[None, None, None])
    shifts: Tensor = step.alpha * functional.conv2d(blurred, kernel[None, None, :, None])
    return shifts.reshape(2, height, width)


def _read(image: _Image, planes: _Planes, places: Tensor) -> tuple[_Image, _Planes]:
    """Read at places of the old grid; beyond its border it is mirrored about the last pixel."""

    def read(volume: Tensor, mode: str) -> Tensor:
        moved: Tensor = functional.grid_sample(
            volume[None], places, mode=mode, padding_mode="reflection", align_corners=True
        )
        return moved[0]

    return read(image, "bilinear"), read(planes.float(), "nearest").to(torch.uint8)


def _cropped(step: A.CenterCrop, image: _Image, planes: _Planes) -> tuple[_Image, _Planes]:
    left, top, right, bottom = _drawn(step, image)["crop_coords"]
    return image[:, top:bottom, left:right], planes[:, top:bottom, left:right]


def _mirrored(axis: int) -> Callable[[Any, _Image, _Planes], tuple[_Image, _Planes]]:
    return lambda step, image, planes: (image.flip(axis), planes.flip(axis))


def _in_one_of_eight_ways(step: A.D4, image: _Image, planes: _Planes) -> tuple[_Image, _Planes]:
    way = EIGHT_WAYS[_drawn(step, image)["group_element"]]
    return way(image), way(planes)


EIGHT_WAYS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "e": lambda x: x,
    "r90": lambda x: x.rot90(1, (1, 2)),
    "r180": lambda x: x.rot90(2, (1, 2)),
    "r270": lambda x: x.rot90(3, (1, 2)),
    "v": lambda x: x.flip(1),
    "h": lambda x: x.flip(2),
    "t": lambda x: x.transpose(1, 2),
    "hvt": lambda x: x.rot90(2, (1, 2)).transpose(1, 2),
}
"""By albumentations' names of the symmetries of a square."""

MOVES: Mapping[type, Callable[[Any, _Image, _Planes], tuple[_Image, _Planes]]] = {
    A.Affine: _turned,
    A.ElasticTransform: _bent,
    A.CenterCrop: _cropped,
    A.VerticalFlip: _mirrored(1),
    A.HorizontalFlip: _mirrored(2),
    A.D4: _in_one_of_eight_ways,
}
