"""The one preprocessing of training, evaluation and service. Letters: ``c`` channels."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from seg.errors import ImageError
from seg.images import Image
from seg.transforms.intensity import Scaling, check_finite, scaling_of
from seg.transforms.nnunet import nonzero_box, nonzero_mask, resample_as_nnunet, separate_axis
from seg.transforms.resample import resample_image, resampled_shape
from seg.transforms.spec import Preprocessing


@dataclass(frozen=True, eq=False)
class Prepared:
    """An image as the network wants it, and the size to which its mask must return."""

    array: Float32[np.ndarray, "c *grid"]
    original_shape: tuple[int, ...]
    scalings: tuple[Scaling, ...]
    """What was done to the intensities, one a channel."""
    box: tuple[slice, ...] | None = None
    """The part of the original image that this is; None where it is all of it."""
    nearest_axis: int | None = None
    """The axis along which logits find back to the original grid by nearest neighbour."""

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
    if spec.convention == "nnunet":
        return _prepare_as_nnunet(image, spec)
    shape = resampled_shape(image.spatial_shape, image.spacing, spec.spacing)
    array = resample_image(image.array, shape, image.spacing)
    check_finite(array)
    scalings = tuple(scaling_of(x, r) for x, r in zip(array, spec.normalisation, strict=True))
    for scaling, x in zip(scalings, array, strict=True):
        scaling.apply_in_place(x)
    return Prepared(array, image.spatial_shape, scalings)


def _prepare_as_nnunet(image: Image, spec: Preprocessing) -> Prepared:
    """Cut to what is not 0, normalise, resample."""
    check_finite(image.array)
    nonzero = nonzero_mask(image.array)
    box = nonzero_box(nonzero)
    array, inside = image.array[(slice(None), *box)], nonzero[box]
    scalings, scaled = [], np.empty(array.shape, np.float32)
    for to, x, rule in zip(scaled, array, spec.normalisation, strict=True):
        scaling = scaling_of(x[inside] if rule.nonzero else x, rule)
        to[...] = scaling.apply(x)
        if rule.nonzero:
            to[~inside] = 0
        scalings.append(scaling)
    shape = resampled_shape(array.shape[1:], image.spacing, spec.spacing)
    target = None
    if spec.spacing and image.spacing:
        pairs = zip(spec.spacing, image.spacing, strict=True)
        target = tuple(mm if wanted is None else wanted for wanted, mm in pairs)
    return Prepared(
        resample_as_nnunet(scaled, shape, separate_axis(image.spacing, target)),
        image.spatial_shape,
        tuple(scalings),
        box,
        separate_axis(target, image.spacing),
    )


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
