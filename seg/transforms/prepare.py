"""The one preprocessing of training, evaluation and service. Letters: ``c`` channels."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from seg.errors import ImageError
from seg.images import Image
from seg.transforms.intensity import Scaling, check_finite, scaling_of
from seg.transforms.resample import resample_image, resampled_shape
from seg.transforms.spec import Preprocessing


@dataclass(frozen=True, eq=False)
class Prepared:
    """An image as the network wants it, and the size to which its mask must return."""

    array: Float32[np.ndarray, "c *grid"]
    original_shape: tuple[int, ...]
    scalings: tuple[Scaling, ...]
    """What was done to the intensities, one a channel."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels and size on the network's grid."""
        return self.array.shape

    def rows(self, start: int, stop: int) -> Float32[np.ndarray, "c *slab"]:
        """Some rows along the first spatial axis."""
        return self.array[:, start:stop]


def prepare(image: Image, spec: Preprocessing) -> Prepared:
    """Resample to the target spacing, then normalise.

    An image that does not state its spacing is taken as it is.

    Raises:
        ImageError: the channels differ from the model's, or an intensity is not finite.
    """
    check_channels(image.channels, spec)
    shape = resampled_shape(image.spatial_shape, image.spacing, spec.spacing)
    array = resample_image(image.array, shape, image.spacing)
    check_finite(array)
    scalings = tuple(scaling_of(x, r) for x, r in zip(array, spec.normalisation, strict=True))
    scaled = np.stack([scaling.apply(x) for scaling, x in zip(scalings, array, strict=True)])
    return Prepared(scaled, image.spatial_shape, scalings)


def check_channels(channels: int, spec: Preprocessing) -> None:
    """Pass where an image has the channels of the model.

    Raises:
        ImageError: it has others.
    """
    if channels != len(spec.normalisation):
        raise ImageError(
            f"this model needs images of {len(spec.normalisation)} channels, got "
            f"{channels}; send all channels in one file, or one file a channel"
        )
