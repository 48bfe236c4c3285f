"""The one preprocessing of training, evaluation and service. Letters: ``c`` channels."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from seg.errors import ImageError
from seg.images import Image
from seg.transforms.intensity import normalise
from seg.transforms.resample import resample_image, resampled_shape
from seg.transforms.spec import Preprocessing


@dataclass(frozen=True, eq=False)
class Prepared:
    """An image as the network wants it, and the size to which its mask must return."""

    array: Float32[np.ndarray, "c *grid"]
    original_shape: tuple[int, ...]

    @property
    def is_resampled(self) -> bool:
        """Whether the network's grid differs from the image's own."""
        return self.array.shape[1:] != self.original_shape


def prepare(image: Image, spec: Preprocessing) -> Prepared:
    """Resample to the target spacing, then normalise.

    An image that does not state its spacing is taken as it is.

    Raises:
        ImageError: the channels differ from the model's, or an intensity is not finite.
    """
    if image.channels != len(spec.normalisation):
        raise ImageError(
            f"this model needs images of {len(spec.normalisation)} channels, got "
            f"{image.channels}; send all channels in one file, or one file a channel"
        )
    shape = resampled_shape(image.spatial_shape, image.spacing, spec.spacing)
    array = resample_image(image.array, shape, image.spacing)
    return Prepared(normalise(array, spec.normalisation), image.spatial_shape)
