"""Bare NumPy arrays (``.npy``): what programs send that have decoded the image already."""

import io
import struct
import tokenize

import numpy as np
from numpy.lib import format as npy

from seg.errors import ImageError
from seg.images.grid.image import Image, Mask
from seg.images.grid.limits import ReadOptions
from seg.images.storage.files import BinaryFile

MAGIC = b"\x93NUMPY"
HEADER_ERRORS = (  # what numpy raises on a header that is not the Python literal it should be
    ValueError,
    SyntaxError,
    TypeError,
    EOFError,
    OverflowError,
    RecursionError,
    MemoryError,
    struct.error,
    tokenize.TokenError,
)
AXES = {2: "(y, x) or (channels, y, x)", 3: "(z, y, x) or (channels, z, y, x)"}


def encode_npy(mask: Mask) -> bytes:
    """Labels as a file for ``numpy.load``; it has no place for spacing and affine."""
    buffer = io.BytesIO()
    np.save(buffer, mask.array.astype(np.uint8), allow_pickle=False)
    return buffer.getvalue()


def read_npy(file: BinaryFile, options: ReadOptions) -> Image:
    """An array of numbers, channels first where it has some; objects are never unpickled."""
    try:
        version = npy.read_magic(file)
        reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = reader(file)
    except HEADER_ERRORS as error:
        # of a library's sentences the first: what follows is advice to programmers
        said = str(error).partition("\n")[0].rstrip(".")[:100]
        raise ImageError(f"the NumPy file is damaged ({said}); save it anew") from error
    if dtype.kind not in "buif" or dtype.itemsize > 8:
        raise ImageError(f"a NumPy array must hold numbers of up to 64 bits, got {dtype}")
    # a mask has no channels
    dims = options.dims or {2: 2, 3: 3 if options.labels else None, 4: 3}.get(len(shape))
    if dims is None or len(shape) not in (dims, dims + 1):
        wanted = AXES.get(dims or 0) or "of 2 or 4 axes"
        raise ImageError(f"a NumPy array must be {wanted}, got one of shape {shape}")
    spatial = shape[-dims:]
    channels = shape[0] if len(shape) > dims else 1
    if min(shape) < 1:
        raise ImageError(f"a NumPy array must not be empty, got one of shape {shape}")
    options.limits.check(spatial, channels, dtype.itemsize)
    wanted_bytes = dtype.itemsize * channels * int(np.prod(spatial, dtype=object))
    content = file.read(wanted_bytes)
    if len(content) < wanted_bytes:
        raise ImageError(
            f"the NumPy file is cut off: {wanted_bytes} bytes of array are announced, "
            f"{len(content)} are there"
        )
    array = np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")
    array = array.astype(np.uint8 if dtype.kind == "b" else dtype.newbyteorder("="))
    return Image(array.reshape(channels, *spatial))
