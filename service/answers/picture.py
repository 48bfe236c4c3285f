"""An image as a browser can show it: what the page draws a mask on."""

from collections.abc import Callable, Sequence
from typing import BinaryIO

from seg.images import Limits, content_of, encode_image, encode_picture, read_channels
from service.errors import RequestCancelledError

LONGEST = 4096
"""Most pixels along an edge of a picture: what the canvas of a phone can hold."""


def picture_of(
    files: Sequence[BinaryIO], dims: int, limits: Limits, is_useless: Callable[[], bool]
) -> tuple[bytes, str]:
    """A PNG of an image, a NIfTI file of a volume; and its media type.

    The PNG is grey as that of the overlay is, and of the mask's size, unless that has an edge above
    ``LONGEST``: then it shows every second, third, ... pixel.

    Args:
        files: The image, one file a channel.
        dims: 2 or 3.
        limits: Sizes that are read.
        is_useless: Asked before each of the two steps, reading and writing.

    Raises:
        ImageError: the files are no image of that many dimensions.
        RequestCancelledError: nobody waits for it any more.
    """
    if is_useless():
        raise RequestCancelledError
    image = read_channels([content_of(file) for file in files], dims=dims, limits=limits)
    if is_useless():
        raise RequestCancelledError
    if image.dims == 2:
        return encode_picture(image, LONGEST), "image/png"
    return encode_image(image, ".nii.gz"), "application/x-nifti"
