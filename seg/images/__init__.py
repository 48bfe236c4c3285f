"""Images and masks, and the files they come from and go to."""

from seg.images.classes import ClassInfo
from seg.images.endings import IMAGE_ENDINGS, images_at, stem_of
from seg.images.image import Affine, Image, Mask, Spacing
from seg.images.limits import Limits
from seg.images.mask_formats import (
    MASK_FORMATS,
    MaskFormat,
    encode_image,
    encode_mask,
    write_image,
    write_mask,
)
from seg.images.mask_stream import STREAMED_FORMATS, write_mask_parts
from seg.images.pictures import encode_picture
from seg.images.probabilities import PROBABILITY_FORMATS, encode_probabilities
from seg.images.readers import content_of, read_channels, read_image, read_mask
from seg.images.regions import open_channels, open_image, stays_in_file
from seg.images.source import ImageSource

__all__ = [
    "IMAGE_ENDINGS",
    "MASK_FORMATS",
    "PROBABILITY_FORMATS",
    "STREAMED_FORMATS",
    "Affine",
    "ClassInfo",
    "Image",
    "ImageSource",
    "Limits",
    "Mask",
    "MaskFormat",
    "Spacing",
    "content_of",
    "encode_image",
    "encode_mask",
    "encode_picture",
    "encode_probabilities",
    "images_at",
    "open_channels",
    "open_image",
    "read_channels",
    "read_image",
    "read_mask",
    "stays_in_file",
    "stem_of",
    "write_image",
    "write_mask",
    "write_mask_parts",
]
