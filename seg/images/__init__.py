"""Images and masks, and the files they come from and go to."""

from seg.images.classes import ClassInfo
from seg.images.image import Affine, Image, Mask, Spacing
from seg.images.limits import Limits
from seg.images.mask_formats import MASK_FORMATS, MaskFormat, encode_mask, write_image, write_mask
from seg.images.readers import read_channels, read_image, read_mask

__all__ = [
    "MASK_FORMATS",
    "Affine",
    "ClassInfo",
    "Image",
    "Limits",
    "Mask",
    "MaskFormat",
    "Spacing",
    "encode_mask",
    "read_channels",
    "read_image",
    "read_mask",
    "write_image",
    "write_mask",
]
