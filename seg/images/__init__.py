"""Images and masks, and the files they come from and go to."""

from seg.images.endings import IMAGE_ENDINGS, images_at, stem_of
from seg.images.frames import frames_in, read_frame
from seg.images.grid.classes import ClassInfo, Code
from seg.images.grid.frames import Frame
from seg.images.grid.image import Affine, Image, Mask, Spacing
from seg.images.grid.limits import Limits
from seg.images.grid.made_by import MadeBy
from seg.images.grid.source import ImageSource
from seg.images.pictures.sheets import encode_picture
from seg.images.reading import read_channels, read_image, read_mask, series_in
from seg.images.reading_parts import open_channels, open_image, stays_in_file
from seg.images.writing import (
    MASK_FORMATS,
    MaskFormat,
    encode_image,
    encode_mask,
    encode_objects,
    write_image,
    write_mask,
    write_objects,
)
from seg.images.writing_parts import STREAMED_FORMATS, write_mask_parts, write_objects_parts
from seg.images.writing_probabilities import PROBABILITY_FORMATS, encode_probabilities

__all__ = [
    "IMAGE_ENDINGS",
    "MASK_FORMATS",
    "PROBABILITY_FORMATS",
    "STREAMED_FORMATS",
    "Affine",
    "ClassInfo",
    "Code",
    "Frame",
    "Image",
    "ImageSource",
    "Limits",
    "MadeBy",
    "Mask",
    "MaskFormat",
    "Spacing",
    "encode_image",
    "encode_mask",
    "encode_objects",
    "encode_picture",
    "encode_probabilities",
    "frames_in",
    "images_at",
    "open_channels",
    "open_image",
    "read_channels",
    "read_frame",
    "read_image",
    "read_mask",
    "series_in",
    "stays_in_file",
    "stem_of",
    "write_image",
    "write_mask",
    "write_mask_parts",
    "write_objects",
    "write_objects_parts",
]
