"""Images and masks, and the files they come from and go to."""

from seg.images.classes import ClassInfo
from seg.images.image import Image, Mask

__all__ = ["ClassInfo", "Image", "Mask"]
