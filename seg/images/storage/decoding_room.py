"""Decoders that do not say why they failed: because of the file, or for want of memory."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from seg.errors import ImageError, ImageTooLargeError
from seg.images.storage.files import DAMAGE

BYTES_A_SAMPLE = 12
"""That a decoder takes at most: integers or real numbers of its own, what it makes of them, and a
copy. OpenJPEG took 6 in a TIFF, libjxl 8, and libwebp 4 with an alpha that nobody wants."""


@contextmanager
def decoding_room(samples: int) -> Iterator[None]:
    """Tell a decoder that ran out of memory from a damaged file.

    OpenJPEG, libwebp, libjxl, liblzma and libjpeg report the same of both, and where they report
    it of memory, what calls them makes one error of all. So whatever failed is believed to be the
    file only where there is the memory that it may take at most.

    Args:
        samples: that are decoded at a time.

    Raises:
        ImageTooLargeError: the memory is not there.
    """
    try:
        yield
    except ImageError:
        raise
    except DAMAGE:
        size = samples * BYTES_A_SAMPLE
        try:
            np.empty(size, np.uint8)
        except (MemoryError, ValueError) as error:
            raise ImageTooLargeError(
                f"{samples:,} samples take up to {size / 1e6:.0f} MB to decode, which are not "
                "there; crop the image, cut it into smaller tiles, or give it more memory"
            ) from error
        raise
